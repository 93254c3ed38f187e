//! Several modules that share one memory, as one.

use std::collections::{HashMap, HashSet};

use wasm_encoder::reencode::{Error, Reencode, RoundtripReencoder, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Encode as _, EntityType,
    ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction,
    MemorySection, TableSection, TypeSection,
};
use wasmparser::{ExternalKind, FuncType, Operator, TypeRef};

use super::graph::{Kind, Module, Place, number, unreadable};
use super::libraries::{Found, Libraries};

/// The module that takes the libraries' place.
pub(super) struct Merged {
    pub(super) bytes: Vec<u8>,
    /// What it imports, by places at the component's core level. The names are [`import_name`]s.
    pub(super) imports: Vec<Place>,
}

/// What an import is called, by its number.
pub(super) fn import_name(number: usize) -> String {
    number.to_string()
}

/// Merges the libraries; what they are to export is named with where it lies.
pub(super) fn merge(libraries: &Libraries<'_, '_>, exports: &[(String, Found)]) -> Result<Merged, String> {
    let layout = Layout::of(libraries)?;
    let mut sections = Sections::default();
    let mut types = Types::default();
    for (import, (_, ty)) in layout.imports.iter().enumerate() {
        let ty = types.index(&mut sections.types, ty)?;
        sections.imports.import("", &import_name(import), EntityType::Function(ty));
    }
    let constants = layout.constants(libraries)?;
    let mut written = HashSet::new();
    for (library, numbers) in libraries.all.iter().zip(&layout.numbers) {
        let own = library.module.types.iter();
        let types = own.map(|ty| types.index(&mut sections.types, ty)).collect::<Result<_, _>>()?;
        let mut renumber = Renumber { numbers, types, constants: &constants, written: &mut written };
        sections.take(library.module, &mut renumber).map_err(|error| error.to_string())?;
    }
    for (name, found) in exports {
        let (kind, index) = layout.exported(*found)?;
        sections.exports.export(name, kind, index);
        if kind == ExportKind::Global {
            written.insert(index);
        }
    }
    let imports = layout.imports.into_iter().map(|(place, _)| place).collect();
    Ok(Merged { bytes: sections.finish(&written), imports })
}

/// The index of everything in the module.
struct Layout {
    /// The functions that come from outside, which have the lowest indexes.
    imports: Vec<(Place, FuncType)>,
    /// By library: where what it defines begins.
    begins: Vec<HashMap<Kind, u32>>,
    /// By library.
    numbers: Vec<Numbers>,
}

/// A library's indexes, in the module.
#[derive(Default)]
struct Numbers {
    of: HashMap<Kind, Vec<u32>>,
    elements: u32,
    data: u32,
}

const KINDS: [Kind; 4] = [Kind::Func, Kind::Table, Kind::Memory, Kind::Global];

impl Layout {
    fn of(libraries: &Libraries<'_, '_>) -> Result<Self, String> {
        let mut layout = Self { imports: Vec::new(), begins: Vec::new(), numbers: Vec::new() };
        let mut places: HashMap<Place, u32> = HashMap::new();
        for (number, library) in libraries.all.iter().enumerate() {
            for kind in KINDS {
                for (index, import) in (0..).zip(library.module.imported(kind)) {
                    let Found::Outside(place) = libraries.find(number, Place { kind, index })? else {
                        continue;
                    };
                    let TypeRef::Func(ty) = import.ty else {
                        return Err(format!("{:?} isn't a function, and comes from outside", import.name));
                    };
                    let ty = library.module.types.get(ty as usize).ok_or("a function without a type")?;
                    places.entry(place).or_insert_with(|| {
                        layout.imports.push((place, ty.clone()));
                        self::number(layout.imports.len() - 1)
                    });
                }
            }
        }
        let mut next: HashMap<Kind, u32> = HashMap::from([(Kind::Func, number(layout.imports.len()))]);
        for library in &libraries.all {
            layout.begins.push(next.clone());
            for kind in KINDS {
                *next.entry(kind).or_default() += library.module.defined(kind);
            }
        }
        let (mut elements, mut data) = (0, 0);
        for (number, library) in libraries.all.iter().enumerate() {
            let mut numbers = Numbers { elements, data, ..Numbers::default() };
            elements += self::number(library.module.elements.len());
            data += self::number(library.module.data.len());
            for kind in KINDS {
                let count =
                    self::number(library.module.imported(kind).count()) + library.module.defined(kind);
                let index = |index| match libraries.find(number, Place { kind, index })? {
                    Found::Outside(place) => places.get(&place).copied().ok_or_else(unknown),
                    Found::Library(of, place) => layout.own(of, place).ok_or_else(unknown),
                };
                numbers.of.insert(kind, (0..count).map(index).collect::<Result<_, _>>()?);
            }
            layout.numbers.push(numbers);
        }
        Ok(layout)
    }

    /// The index of what a library defines.
    fn own(&self, library: usize, Place { kind, index }: Place) -> Option<u32> {
        Some(self.begins.get(library)?.get(&kind).unwrap_or(&0) + index)
    }

    fn exported(&self, found: Found) -> Result<(ExportKind, u32), String> {
        let Found::Library(library, place) = found else {
            return Err("what a library exports comes from outside".to_owned());
        };
        Ok((ExternalKind::from(place.kind).into(), self.own(library, place).ok_or_else(unknown)?))
    }

    /// The globals that are numbers and never change, by index.
    fn constants(&self, libraries: &Libraries<'_, '_>) -> Result<HashMap<u32, i32>, String> {
        let mut constants = HashMap::new();
        for (number, library) in libraries.all.iter().enumerate() {
            let begins = self.own(number, Place { kind: Kind::Global, index: 0 }).ok_or_else(unknown)?;
            for (index, global) in (begins..).zip(&library.module.globals) {
                let mut operators = global.init_expr.get_operators_reader();
                let first = operators.read().map_err(unreadable)?;
                if let (Operator::I32Const { value }, true, false) =
                    (first, operators.is_end_then_eof(), global.ty.mutable)
                {
                    constants.insert(index, value);
                }
            }
        }
        Ok(constants)
    }
}

fn unknown() -> String {
    "something has no place in the module".to_owned()
}

/// The types of functions, each once.
#[derive(Default)]
struct Types(HashMap<FuncType, u32>);

impl Types {
    fn index(&mut self, section: &mut TypeSection, ty: &FuncType) -> Result<u32, String> {
        if let Some(known) = self.0.get(ty) {
            return Ok(*known);
        }
        let encoded = RoundtripReencoder.func_type(ty.clone()).map_err(|error| error.to_string())?;
        section.ty().func_type(&encoded);
        let index = number(self.0.len());
        self.0.insert(ty.clone(), index);
        Ok(index)
    }
}

#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    /// Which may change is known when all code is.
    globals: Vec<(GlobalType, ConstExpr)>,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
}

impl Sections {
    /// Adds all that a library has, with its new indexes.
    fn take(&mut self, module: &Module<'_>, renumber: &mut Renumber<'_>) -> Result<(), Error<String>> {
        for ty in &module.functions {
            self.functions.function(renumber.type_index(*ty)?);
        }
        for table in &module.tables {
            renumber.parse_table(&mut self.tables, table.clone())?;
        }
        for memory in &module.memories {
            self.memories.memory(renumber.memory_type(*memory)?);
        }
        for global in &module.globals {
            let initial = renumber.const_expr(global.init_expr.clone())?;
            self.globals.push((renumber.global_type(global.ty)?, initial));
        }
        for element in &module.elements {
            renumber.parse_element(&mut self.elements, element.clone())?;
        }
        for body in &module.bodies {
            renumber.parse_function_body(&mut self.code, body.clone())?;
        }
        for data in &module.data {
            renumber.parse_data(&mut self.data, data.clone())?;
        }
        Ok(())
    }

    /// `written` are the globals that may change; all others are constants.
    fn finish(self, written: &HashSet<u32>) -> Vec<u8> {
        let mut globals = GlobalSection::new();
        for (index, (mut ty, initial)) in (0..).zip(self.globals) {
            ty.mutable = written.contains(&index);
            globals.global(ty, &initial);
        }
        let mut module = wasm_encoder::Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&globals)
            .section(&self.exports)
            .section(&self.elements)
            .section(&DataCountSection { count: self.data.len() })
            .section(&self.code)
            .section(&self.data);
        module.finish()
    }
}

/// A library's indexes made into the module's.
struct Renumber<'m> {
    numbers: &'m Numbers,
    types: Vec<u32>,
    constants: &'m HashMap<u32, i32>,
    /// The globals that some code writes to.
    written: &'m mut HashSet<u32>,
}

impl Renumber<'_> {
    fn number(&self, kind: Kind, index: u32) -> Result<u32, Error<String>> {
        let number = self.numbers.of.get(&kind).and_then(|numbers| numbers.get(index as usize));
        number.copied().ok_or_else(|| Error::UserError(format!("{kind:?} {index} isn't there")))
    }
}

impl Reencode for Renumber<'_> {
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

    fn type_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        let ty = self.types.get(index as usize).copied();
        ty.ok_or_else(|| Error::UserError(format!("type {index} isn't there")))
    }

    fn element_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Ok(self.numbers.elements + index)
    }

    fn data_index(&mut self, index: u32) -> Result<u32, Error<String>> {
        Ok(self.numbers.data + index)
    }

    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error<String>> {
        if let Operator::GlobalSet { global_index } = operator {
            let global = self.global_index(global_index)?;
            self.written.insert(global);
        }
        utils::instruction(self, operator)
    }

    /// Where it names a global that never changes, it's that one's number: what begins with a number is there before
    /// anything runs.
    fn const_expr(&mut self, expression: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, Error<String>> {
        let mut operators = expression.get_operators_reader();
        let mut bytes = Vec::new();
        while !operators.is_end_then_eof() {
            let instruction = match operators.read()? {
                Operator::GlobalGet { global_index } => {
                    let global = self.global_index(global_index)?;
                    let value = self.constants.get(&global).ok_or_else(|| {
                        Error::UserError(format!(
                            "what begins with global {global}, which changes, can't be linked"
                        ))
                    })?;
                    Instruction::I32Const(*value)
                }
                operator => self.instruction(operator)?,
            };
            instruction.encode(&mut bytes);
        }
        Ok(ConstExpr::raw(bytes))
    }
}
