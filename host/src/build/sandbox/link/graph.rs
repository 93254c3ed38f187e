//! What a component's core level holds: modules, their instances, and what is taken out of these.

use std::collections::HashMap;

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, Data, Element, Export, ExternalKind, FuncType,
    FunctionBody, Global, Import, Instance, MemoryType, Parser, Payload, Table, TypeRef,
};

/// The number of the section that holds a component, in a component.
const COMPONENT_SECTION: u8 = 4;

/// What can be exported and imported, as far as it can be linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Func,
    Table,
    Memory,
    Global,
}

/// Something of the component's core level, or of a module, by its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) index: u32,
}

/// Where something of the core level comes from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// An instance exports it.
    Export { instance: u32, name: &'a str },
    /// It's made of something of the component level.
    Canonical,
}

/// A part of the component.
#[derive(Debug)]
pub(super) enum Item<'a> {
    /// A section that says nothing of the core level: its number, and its bytes.
    Section(u8, &'a [u8]),
    Module(u32),
    Instance(u32),
    /// What is taken out of a core instance.
    Taken(Place),
    /// An alias of the component level.
    Alias(ComponentAlias<'a>),
    /// And the core function that it makes, if it does.
    Canonical(CanonicalFunction, Option<Place>),
}

/// What a part of the core level refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Reference {
    Instance(u32),
    Place(Place),
}

#[derive(Default)]
pub(super) struct Graph<'a> {
    /// In their order.
    pub(super) items: Vec<Item<'a>>,
    pub(super) modules: Vec<Module<'a>>,
    pub(super) instances: Vec<Instance<'a>>,
    origins: HashMap<Place, Origin<'a>>,
    counts: HashMap<Kind, u32>,
}

/// A core module, taken apart.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) types: Vec<FuncType>,
    pub(super) imports: Vec<Import<'a>>,
    /// The types of its own functions.
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) tables: Vec<Table<'a>>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) globals: Vec<Global<'a>>,
    pub(super) exports: HashMap<&'a str, Place>,
    pub(super) elements: Vec<Element<'a>>,
    pub(super) data: Vec<Data<'a>>,
    /// Whether it does something when it's instantiated.
    pub(super) starts: bool,
}

impl<'a> Graph<'a> {
    pub(super) fn of(component: &'a [u8]) -> Result<Self, String> {
        let mut graph = Self::default();
        // Where the parser is: in a module, or in something that is copied as it is.
        let mut within: Vec<Option<usize>> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.map_err(unreadable)?;
            match (&payload, within.last()) {
                (Payload::ModuleSection { unchecked_range: range, .. }, None) => {
                    within.push(Some(graph.modules.len()));
                    graph.items.push(Item::Module(number(graph.modules.len())));
                    graph.modules.push(Module { bytes: bytes(component, range), ..Module::default() });
                }
                (Payload::ComponentSection { unchecked_range: range, .. }, None) => {
                    within.push(None);
                    graph.items.push(Item::Section(COMPONENT_SECTION, bytes(component, range)));
                }
                (Payload::ModuleSection { .. } | Payload::ComponentSection { .. }, Some(_)) => {
                    within.push(None)
                }
                (Payload::End(_), _) => drop(within.pop()),
                (_, None) => graph.read(component, payload)?,
                (_, Some(None)) => {}
                (_, Some(Some(module))) => {
                    if let Some(module) = graph.modules.get_mut(*module) {
                        module.read(payload)?;
                    }
                }
            }
        }
        Ok(graph)
    }

    /// Where something of the core level comes from.
    pub(super) fn origin(&self, place: Place) -> Option<Origin<'a>> {
        self.origins.get(&place).copied()
    }

    pub(super) fn instance(&self, index: u32) -> Option<&Instance<'a>> {
        self.instances.get(index as usize)
    }

    /// What an item refers to.
    pub(super) fn references(&self, item: &Item<'a>) -> Result<Vec<Reference>, String> {
        Ok(match item {
            Item::Section(..) | Item::Module(_) | Item::Alias(_) => Vec::new(),
            Item::Taken(place) => match self.origin(*place) {
                Some(Origin::Export { instance, .. }) => vec![Reference::Instance(instance)],
                Some(Origin::Canonical) | None => Vec::new(),
            },
            Item::Instance(instance) => match self.instance(*instance) {
                Some(Instance::Instantiate { args, .. }) => {
                    args.iter().map(|argument| Reference::Instance(argument.index)).collect()
                }
                Some(Instance::FromExports(exports)) => {
                    let place =
                        |export: &Export<'_>| Place::new(export.kind, export.index).map(Reference::Place);
                    exports.iter().map(place).collect::<Result<_, _>>()?
                }
                None => Vec::new(),
            },
            Item::Canonical(canonical, _) => {
                let func = |index: &u32| Reference::Place(Place { kind: Kind::Func, index: *index });
                let (lifted, options) = match canonical {
                    CanonicalFunction::Lift { core_func_index, options, .. } => {
                        (Some(func(core_func_index)), options)
                    }
                    CanonicalFunction::Lower { options, .. } => (None, options),
                    CanonicalFunction::ResourceNew { .. }
                    | CanonicalFunction::ResourceDrop { .. }
                    | CanonicalFunction::ResourceRep { .. } => return Ok(Vec::new()),
                    other => return Err(format!("{other:?} can't be linked")),
                };
                let named = options.iter().filter_map(|option| match option {
                    CanonicalOption::Memory(index) => {
                        Some(Reference::Place(Place { kind: Kind::Memory, index: *index }))
                    }
                    CanonicalOption::Realloc(index)
                    | CanonicalOption::PostReturn(index)
                    | CanonicalOption::Callback(index) => Some(func(index)),
                    _ => None,
                });
                lifted.into_iter().chain(named).collect()
            }
        })
    }

    fn read(&mut self, component: &'a [u8], payload: Payload<'a>) -> Result<(), String> {
        match payload {
            Payload::InstanceSection(section) => {
                for instance in section {
                    self.items.push(Item::Instance(number(self.instances.len())));
                    self.instances.push(instance.map_err(unreadable)?);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    let item = match alias.map_err(unreadable)? {
                        ComponentAlias::CoreInstanceExport { kind, instance_index: instance, name } => {
                            Item::Taken(self.define(kind, Origin::Export { instance, name })?)
                        }
                        alias => Item::Alias(alias),
                    };
                    self.items.push(item);
                }
            }
            Payload::ComponentCanonicalSection(section) => {
                for canonical in section {
                    let canonical = canonical.map_err(unreadable)?;
                    let made = match canonical {
                        CanonicalFunction::Lift { .. } => None,
                        _ => Some(self.define(ExternalKind::Func, Origin::Canonical)?),
                    };
                    self.items.push(Item::Canonical(canonical, made));
                }
            }
            // It has names by number, and the numbers will be other ones.
            Payload::CustomSection(custom) if custom.name() == "component-name" => {}
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    self.items.push(Item::Section(id, bytes(component, &range)));
                }
            }
        }
        Ok(())
    }

    fn define(&mut self, kind: ExternalKind, origin: Origin<'a>) -> Result<Place, String> {
        let Place { kind, .. } = Place::new(kind, 0)?;
        let count = self.counts.entry(kind).or_default();
        let place = Place { kind, index: *count };
        *count += 1;
        self.origins.insert(place, origin);
        Ok(place)
    }
}

impl<'a> Module<'a> {
    fn read(&mut self, payload: Payload<'a>) -> Result<(), String> {
        match payload {
            Payload::TypeSection(section) => self.types = all(section.into_iter_err_on_gc_types())?,
            Payload::ImportSection(section) => self.imports = all(section.into_imports())?,
            Payload::FunctionSection(section) => self.functions = all(section)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::TableSection(section) => self.tables = all(section)?,
            Payload::MemorySection(section) => self.memories = all(section)?,
            Payload::GlobalSection(section) => self.globals = all(section)?,
            Payload::ElementSection(section) => self.elements = all(section)?,
            Payload::DataSection(section) => self.data = all(section)?,
            Payload::ExportSection(section) => {
                for Export { name, kind, index } in all(section)? {
                    self.exports.insert(name, Place::new(kind, index)?);
                }
            }
            Payload::StartSection { .. } => self.starts = true,
            Payload::TagSection(_) => return Err("a module with exceptions can't be linked".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// What it imports of a kind, in the order of their indexes. Its own come after these.
    pub(super) fn imported(&self, kind: Kind) -> impl Iterator<Item = &Import<'a>> {
        self.imports.iter().filter(move |import| match import.ty {
            TypeRef::Func(_) => kind == Kind::Func,
            TypeRef::Table(_) => kind == Kind::Table,
            TypeRef::Memory(_) => kind == Kind::Memory,
            TypeRef::Global(_) => kind == Kind::Global,
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => false,
        })
    }

    /// How many of a kind it defines.
    pub(super) fn defined(&self, kind: Kind) -> u32 {
        number(match kind {
            Kind::Func => self.functions.len(),
            Kind::Table => self.tables.len(),
            Kind::Memory => self.memories.len(),
            Kind::Global => self.globals.len(),
        })
    }
}

impl From<Kind> for ExternalKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Func => Self::Func,
            Kind::Table => Self::Table,
            Kind::Memory => Self::Memory,
            Kind::Global => Self::Global,
        }
    }
}

impl Place {
    pub(super) fn new(kind: ExternalKind, index: u32) -> Result<Self, String> {
        let kind = match kind {
            ExternalKind::Func => Kind::Func,
            ExternalKind::Table => Kind::Table,
            ExternalKind::Memory => Kind::Memory,
            ExternalKind::Global => Kind::Global,
            other => return Err(format!("{other:?} can't be linked")),
        };
        Ok(Self { kind, index })
    }
}

/// Indexes have 32 bits; a component that has more of something can't be read.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn all<T>(items: impl IntoIterator<Item = wasmparser::Result<T>>) -> Result<Vec<T>, String> {
    items.into_iter().collect::<Result<_, _>>().map_err(unreadable)
}

fn bytes<'a>(component: &'a [u8], range: &std::ops::Range<usize>) -> &'a [u8] {
    component.get(range.clone()).unwrap_or_default()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn unreadable(error: wasmparser::Error) -> String {
    error.to_string()
}
