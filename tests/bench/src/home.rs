//! A home on the disk, as `keybearer init` makes it and `keybearer serve` opens it.

use std::path::Path;
use std::sync::Arc;

use keybearer::app::{App, Sources};
use keybearer::clock::SystemClock;
use keybearer::config::Config;
use keybearer::doors::ServeConfig;
use keybearer::egress::{MasterKey, MasterKeys, Vault};
use keybearer::home::Home;
use keybearer::store::sqlite::{SqliteAudit, SqliteControl};

/// Makes a home.
pub(crate) fn create(path: &Path) -> anyhow::Result<Home> {
    let home = Home::named(Some(path.to_owned()))?;
    home.begin()?;
    MasterKey::create_file(&key(&home))?;
    home.finish()?;
    Ok(home)
}

/// Opens it.
pub(crate) fn open(home: &Home) -> anyhow::Result<App> {
    let clock = Arc::new(SystemClock);
    let control = Arc::new(SqliteControl::open(&home.control_db())?);
    let vault = Vault::open(control.clone(), MasterKeys::from_file(&key(home))?, clock.clone())?;
    let trail = Arc::new(SqliteAudit::open(&home.audit_db())?);
    let config = Config::load(&home.config_file())?;
    App::open(
        Sources {
            home,
            config: &config,
            control,
            audit: trail.clone(),
            ledger: trail,
            vault,
            clock,
            shadow_policies: None,
        },
        &mut |_| {},
    )
}

/// Its door, on a free port.
pub(crate) fn serve_config(home: &Home) -> anyhow::Result<ServeConfig> {
    let config = Config::load(&home.config_file())?;
    Ok(ServeConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        tls: None,
        insecure_listen: false,
        limits: config.doors,
        deadline: config.deadline,
        deadline_max: config.deadline_max,
        code: config.code,
    })
}

fn key(home: &Home) -> std::path::PathBuf {
    home.root().join("master.key")
}
