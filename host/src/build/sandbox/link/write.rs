//! The component around the module that takes the libraries' place.

use std::collections::{HashMap, HashSet};

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent};
use wasm_encoder::{
    CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId, ExportKind,
    InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{ComponentAlias, Instance};

use super::graph::{Graph, Item, Kind, Origin, Place, Reference};
use super::libraries::{Found, Libraries};
use super::merge::{self, Merged};

const CIRCLE: &str = "the libraries need something that needs them, which can't be linked";

/// The component, with the one module in place of the libraries.
///
/// The module is instantiated as soon as all that it imports is there. What is taken out of it earlier comes after that.
pub(super) fn write(graph: &Graph<'_>, libraries: &Libraries<'_, '_>) -> Result<Vec<u8>, String> {
    let merged = merge::merge(libraries, &exports(graph, libraries)?)?;
    let used = Used::of(graph, libraries, &merged.imports)?;
    let mut writer = Writer::new(graph, libraries, &merged);
    let mut later = Vec::new();
    for item in &graph.items {
        if !used.item(item) {
            continue;
        }
        if writer.is_ready(item)? {
            writer.item(item)?;
        } else if defines(item).is_some() {
            later.push(item);
        } else {
            // What is lifted has its number among those of the component level, which stay as they are.
            return Err(CIRCLE.to_owned());
        }
        if writer.link_if_ready() {
            later.drain(..).try_for_each(|item| writer.item(item))?;
        }
    }
    if later.is_empty() && writer.linked.is_some() {
        Ok(writer.component.finish())
    } else {
        Err(CIRCLE.to_owned())
    }
}

/// What is taken out of libraries by others, and what they are called there: by their place at the core level.
fn exports(graph: &Graph<'_>, libraries: &Libraries<'_, '_>) -> Result<Vec<(String, Found)>, String> {
    // Whatever nobody outside needs is dropped, or all code of all libraries would stay reachable.
    let used = Used::of(graph, libraries, &[])?;
    let mut exports = Vec::new();
    for item in &graph.items {
        let Item::Taken(place) = item else { continue };
        let Some(Origin::Export { instance, name }) = graph.origin(*place) else { continue };
        if used.item(item) && libraries.has(instance) {
            exports.push((export_name(*place), libraries.exported(instance, name)?));
        }
    }
    Ok(exports)
}

fn export_name(place: Place) -> String {
    format!("{:?} {}", place.kind, place.index)
}

/// What is still used once the libraries are one.
struct Used<'u> {
    libraries: &'u Libraries<'u, 'u>,
    references: HashSet<Reference>,
}

impl<'u> Used<'u> {
    /// By the host, by modules that are no libraries, and by the one that takes their place.
    fn of(graph: &Graph<'_>, libraries: &'u Libraries<'u, 'u>, imports: &[Place]) -> Result<Self, String> {
        let items: HashMap<Reference, &Item<'_>> =
            graph.items.iter().filter_map(|item| Some((defines(item)?, item))).collect();
        let mut open: Vec<Reference> = imports.iter().copied().map(Reference::Place).collect();
        for item in &graph.items {
            match item {
                Item::Canonical(..) => open.extend(graph.references(item)?),
                Item::Instance(index)
                    if matches!(graph.instance(*index), Some(Instance::Instantiate { .. })) =>
                {
                    open.push(Reference::Instance(*index));
                }
                _ => {}
            }
        }
        let mut references = HashSet::new();
        while let Some(reference) = open.pop() {
            let is_library = matches!(reference, Reference::Instance(index) if libraries.has(index));
            if !is_library && references.insert(reference) {
                let item = items.get(&reference).ok_or("the component names something that isn't there")?;
                open.extend(graph.references(item)?);
            }
        }
        Ok(Self { libraries, references })
    }

    fn item(&self, item: &Item<'_>) -> bool {
        match item {
            Item::Section(..) | Item::Alias(_) | Item::Canonical(..) => true,
            Item::Module(index) => !self.libraries.has_module(*index),
            Item::Instance(index) => self.references.contains(&Reference::Instance(*index)),
            Item::Taken(place) => self.references.contains(&Reference::Place(*place)),
        }
    }
}

/// What an item is to those that refer to it.
fn defines(item: &Item<'_>) -> Option<Reference> {
    match item {
        Item::Instance(index) => Some(Reference::Instance(*index)),
        Item::Taken(place) | Item::Canonical(_, Some(place)) => Some(Reference::Place(*place)),
        Item::Section(..) | Item::Module(_) | Item::Alias(_) | Item::Canonical(_, None) => None,
    }
}

struct Writer<'w, 'a> {
    graph: &'w Graph<'a>,
    libraries: &'w Libraries<'w, 'a>,
    merged: &'w Merged,
    component: Component,
    /// What is there so far, with its new index.
    numbers: HashMap<Reference, u32>,
    modules: HashMap<u32, u32>,
    /// How many there are of each kind, and of instances.
    counts: HashMap<Option<Kind>, u32>,
    modules_written: u32,
    /// The instance of the one module, when it's there.
    linked: Option<u32>,
}

impl<'w, 'a> Writer<'w, 'a> {
    fn new(graph: &'w Graph<'a>, libraries: &'w Libraries<'w, 'a>, merged: &'w Merged) -> Self {
        Self {
            graph,
            libraries,
            merged,
            component: Component::new(),
            numbers: HashMap::new(),
            modules: HashMap::new(),
            counts: HashMap::new(),
            modules_written: 0,
            linked: None,
        }
    }

    /// Whether all that an item refers to is there.
    fn is_ready(&self, item: &Item<'_>) -> Result<bool, String> {
        let is_there = |reference: Reference| match reference {
            Reference::Instance(index) if self.libraries.has(index) => self.linked.is_some(),
            reference => self.numbers.contains_key(&reference),
        };
        Ok(self.graph.references(item)?.into_iter().all(is_there))
    }

    /// Instantiates the one module, the first time that all that it imports is there.
    fn link_if_ready(&mut self) -> bool {
        let imports = self.merged.imports.iter();
        let numbers: Option<Vec<_>> =
            imports.map(|place| self.numbers.get(&Reference::Place(*place)).copied()).collect();
        let Some(numbers) = numbers.filter(|_| self.linked.is_none()) else { return false };
        let module = self.module(&self.merged.bytes);
        let arguments = self.count(None);
        let linked = self.count(None);
        let mut instances = InstanceSection::new();
        let named = (0..).map(merge::import_name).zip(&numbers);
        instances
            .export_items(named.map(|(name, index)| (name, ExportKind::Func, *index)).collect::<Vec<_>>());
        instances.instantiate(module, [("", ModuleArg::Instance(arguments))]);
        self.component.section(&instances);
        self.linked = Some(linked);
        true
    }

    /// The new module's index.
    fn module(&mut self, bytes: &[u8]) -> u32 {
        self.component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: bytes });
        self.modules_written += 1;
        self.modules_written - 1
    }

    /// The index of the next of a kind.
    fn count(&mut self, kind: Option<Kind>) -> u32 {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        *count - 1
    }

    fn item(&mut self, item: &Item<'a>) -> Result<(), String> {
        self.encode(item).map_err(|error| error.to_string())?;
        if let Some(defined) = defines(item) {
            let index = self.count(match defined {
                Reference::Instance(_) => None,
                Reference::Place(place) => Some(place.kind),
            });
            self.numbers.insert(defined, index);
        }
        Ok(())
    }

    fn encode(&mut self, item: &Item<'a>) -> Result<(), Error<String>> {
        match item {
            Item::Section(id, data) => {
                self.component.section(&RawSection { id: *id, data });
            }
            Item::Module(index) => {
                let bytes = self.graph.modules.get(*index as usize).map_or(&[][..], |module| module.bytes);
                let module = self.module(bytes);
                self.modules.insert(*index, module);
            }
            Item::Instance(index) => {
                let mut section = InstanceSection::new();
                if let Some(instance) = self.graph.instance(*index) {
                    self.parse_instance(&mut section, instance.clone())?;
                }
                self.component.section(&section);
            }
            Item::Taken(place) => {
                let Some(Origin::Export { instance, name }) = self.graph.origin(*place) else {
                    return Err(Error::UserError("something comes from nowhere".to_owned()));
                };
                let name = if self.libraries.has(instance) { &export_name(*place) } else { name };
                let kind = place.kind.into();
                self.alias(ComponentAlias::CoreInstanceExport { kind, instance_index: instance, name })?;
            }
            Item::Alias(alias) => self.alias(alias.clone())?,
            Item::Canonical(canonical, _) => {
                let mut section = CanonicalFunctionSection::new();
                self.parse_component_canonical(&mut section, canonical.clone())?;
                self.component.section(&section);
            }
        }
        Ok(())
    }

    fn alias(&mut self, alias: ComponentAlias<'_>) -> Result<(), Error<String>> {
        let mut section = ComponentAliasSection::new();
        section.alias(self.component_alias(alias)?);
        self.component.section(&section);
        Ok(())
    }

    fn number(&self, kind: Kind, index: u32) -> Result<u32, Error<String>> {
        let number = self.numbers.get(&Reference::Place(Place { kind, index })).copied();
        number.ok_or_else(|| Error::UserError(format!("{kind:?} {index} isn't there")))
    }
}

/// Indexes of the component made into those of the new one.
impl Reencode for Writer<'_, '_> {
    type Error = String;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        self.number(Kind::Func, index)
    }

    fn table_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        self.number(Kind::Table, index)
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        self.number(Kind::Memory, index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        self.number(Kind::Global, index)
    }
}

impl ReencodeComponent for Writer<'_, '_> {
    fn instance_index(&mut self, index: u32) -> u32 {
        // An item is written once all that it refers to is there.
        let known = self.numbers.get(&Reference::Instance(index)).copied();
        known.or(self.linked).unwrap_or(index)
    }

    fn module_index(&mut self, index: u32) -> u32 {
        self.modules.get(&index).copied().unwrap_or(index)
    }
}
