//! Which modules share the memory, and where each of their imports comes from.

use std::collections::HashMap;

use wasmparser::Instance;

use super::graph::{Graph, Kind, Module, Origin, Place, number};

/// The modules that become one, in the order in which they're instantiated.
pub(super) struct Libraries<'g, 'a> {
    graph: &'g Graph<'a>,
    pub(super) all: Vec<Library<'g, 'a>>,
    /// By instance: which of them it is.
    numbers: HashMap<u32, usize>,
}

pub(super) struct Library<'g, 'a> {
    pub(super) module: &'g Module<'a>,
    module_index: u32,
    /// By the name that it imports from: the instance.
    arguments: HashMap<&'a str, u32>,
}

/// Where something lies that is named somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Found {
    /// A library defines it. The index counts what it defines, not what it imports.
    Library(usize, Place),
    /// It's none of theirs; by its place at the component's core level.
    Outside(Place),
}

impl<'g, 'a> Libraries<'g, 'a> {
    pub(super) fn of(graph: &'g Graph<'a>) -> Result<Self, String> {
        let mut libraries = Self { graph, all: Vec::new(), numbers: HashMap::new() };
        for (index, instance) in (0..).zip(&graph.instances) {
            let Instance::Instantiate { module_index, args } = instance else { continue };
            let module = graph.modules.get(*module_index as usize).ok_or("an instance of no module")?;
            let of = |kind| module.imported(kind).count() + module.defined(kind) as usize;
            // What has a table and no memory stands between the libraries and the host.
            if of(Kind::Memory) == 0 && of(Kind::Table) > 0 {
                continue;
            }
            if module.starts {
                return Err("a library that does something when it's loaded can't be linked".to_owned());
            }
            if libraries.all.iter().any(|library| library.module_index == *module_index) {
                return Err("a library that is loaded twice can't be linked".to_owned());
            }
            let arguments = args.iter().map(|argument| (argument.name, argument.index)).collect();
            libraries.numbers.insert(index, libraries.all.len());
            libraries.all.push(Library { module, module_index: *module_index, arguments });
        }
        match libraries.all.iter().map(|library| library.module.memories.len()).sum() {
            1 => Ok(libraries),
            0 => Err("a component without a memory can't be linked".to_owned()),
            more => Err(format!("a component with {more} memories can't be linked")),
        }
    }

    /// Whether the instance is a library.
    pub(super) fn has(&self, instance: u32) -> bool {
        self.numbers.contains_key(&instance)
    }

    /// Whether the module is a library's.
    pub(super) fn has_module(&self, module: u32) -> bool {
        self.all.iter().any(|library| library.module_index == module)
    }

    /// Where what a library calls by this place lies.
    pub(super) fn find(&self, library: usize, place: Place) -> Result<Found, String> {
        let of = self.all.get(library).ok_or("no such library")?;
        let imported = number(of.module.imported(place.kind).count());
        match of.module.imported(place.kind).nth(place.index as usize) {
            None => Ok(Found::Library(library, Place { index: place.index - imported, ..place })),
            Some(import) => {
                let from = of.arguments.get(import.module).ok_or_else(|| missing(import.module))?;
                self.exported(*from, import.name)
            }
        }
    }

    /// Where what an instance exports lies.
    pub(super) fn exported(&self, instance: u32, name: &str) -> Result<Found, String> {
        match (self.graph.instance(instance), self.numbers.get(&instance)) {
            (Some(Instance::Instantiate { .. }), Some(library)) => {
                let of = self.all.get(*library).ok_or("no such library")?;
                self.find(*library, *of.module.exports.get(name).ok_or_else(|| missing(name))?)
            }
            (Some(Instance::FromExports(exports)), _) => {
                let export =
                    exports.iter().find(|export| export.name == name).ok_or_else(|| missing(name))?;
                let place = Place::new(export.kind, export.index)?;
                match self.graph.origin(place) {
                    Some(Origin::Export { instance, name }) if self.has(instance) => {
                        self.exported(instance, name)
                    }
                    _ => Ok(Found::Outside(place)),
                }
            }
            _ => Err(format!("{name:?} comes from where nothing can be linked")),
        }
    }
}

fn missing(name: &str) -> String {
    format!("a library imports {name:?}, which nothing exports")
}
