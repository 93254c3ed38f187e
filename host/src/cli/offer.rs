//! A component that an operator is asked to consent to: what `tool add` and `sandbox add` share.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use super::context::Opened;
use super::out::Out;
use crate::catalog::{Catalog, CatalogError, Inspection};
use crate::ids::Digest;
use crate::store::{ComponentKind, ComponentRow};

/// Which component, and how it's consented to.
#[derive(Debug, clap::Args)]
pub(super) struct Offer {
    /// The component.
    file: PathBuf,
    /// The name to keep it under [default: the file's name without `.wasm`].
    #[arg(long)]
    name: Option<String>,
    /// Consent without being asked.
    #[arg(long, short)]
    yes: bool,
    /// Refuse any other digest than this one.
    #[arg(long, value_name = "SHA256")]
    digest: Option<Digest>,
}

/// A component that was read and looked into, and isn't consented to yet.
pub(super) struct Offered {
    /// The name to keep it under.
    pub(super) name: String,
    /// Its bytes, read once: what is shown is what is added.
    pub(super) bytes: Vec<u8>,
    /// What it is and offers.
    pub(super) inspection: Inspection,
    /// What is in use under this name.
    pub(super) earlier: Option<ComponentRow>,
}

impl Offer {
    /// Reads the component, which has to be of this kind and of the digest that was asked for.
    pub(super) fn read(
        &self,
        opened: &Opened,
        catalog: &Catalog,
        kind: ComponentKind,
    ) -> anyhow::Result<Offered> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => stem(&self.file)?,
        };
        let file = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| file.to_string())?;
        // The catalog keeps the compiled code for the second look, when it's added.
        let inspection = catalog.inspect(&bytes).with_context(|| format!("{file} can't be used"))?;
        if inspection.kind != kind {
            let why = match kind {
                ComponentKind::Tool => CatalogError::IsASandbox,
                ComponentKind::Sandbox => CatalogError::NotASandbox,
            };
            bail!("{file}: {why}");
        }
        if let Some(pinned) = self.digest.filter(|pinned| *pinned != inspection.digest) {
            bail!("{file} has the digest {}, not {pinned}; nothing was added", inspection.digest);
        }
        let earlier = opened.control.components()?.into_iter().find(|row| row.active && row.name == name);
        Ok(Offered { name, bytes, inspection, earlier })
    }

    /// The operator's yes.
    pub(super) fn consent(&self, out: &Out, question: &str) -> anyhow::Result<()> {
        if !self.yes && !out.confirm(question) {
            bail!("not added: consent at the terminal, or with --yes");
        }
        Ok(())
    }
}

/// Whether a component that was added is offered now: it's asked to describe itself once more when it's loaded.
pub(super) fn offered(catalog: &Catalog, name: &str) -> anyhow::Result<()> {
    match catalog.snapshot().problems().iter().find(|problem| problem.component == name) {
        Some(problem) => {
            bail!("it was added, but {problem}; `keybearer tool remove {name}` takes it out again")
        }
        None => Ok(()),
    }
}

/// The name that a component is kept under unless another is given.
pub(super) fn stem(file: &Path) -> anyhow::Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    stem.map(str::to_owned).context("the file has no name to keep it under; give --name")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::Millis;
    use crate::config::Config;
    use crate::home::Home;
    use crate::runtime::test_guest::TestGuest;
    use crate::store::sqlite::SqliteControl;

    #[test]
    fn what_was_shown_is_added_though_the_file_changes_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::named(Some(dir.path().join("home"))).unwrap();
        fs::create_dir(home.root()).unwrap();
        let config = Config::parse("", &home.config_file()).unwrap();
        let control = SqliteControl::open(&home.control_db()).unwrap();
        let opened = Opened::of(home, config, control);
        let catalog = opened.catalog(&Out::new(false)).unwrap();
        let file = dir.path().join("pay.wasm");
        let guest = |tool| TestGuest { tools: vec![(tool, Vec::new())], ..TestGuest::default() }.build();

        fs::write(&file, guest("shown")).unwrap();
        let offer = Offer { file: file.clone(), name: None, yes: true, digest: None };
        let shown = offer.read(&opened, &catalog, ComponentKind::Tool).unwrap();
        fs::write(&file, guest("swapped")).unwrap();
        catalog.add_shown(&shown.name, &shown.bytes, &shown.inspection, &[], Millis(1)).unwrap();
        let names: Vec<_> = catalog.snapshot().tools().map(|tool| tool.name.to_string()).collect();
        assert_eq!(names, ["shown"]);
    }
}
