//! How many instances, memories and tables a component may have.

use wasm_encoder::{ComponentSection as _, ComponentSectionId, InstanceSection, ModuleArg, RawSection};

use super::*;

/// A guest with so many instances more, of this module. By itself it has three modules and an instance of each; one has a
/// memory, and one a table.
fn with(times: u32, module: &str) -> Vec<u8> {
    let module = wat::parse_str(module).unwrap();
    let mut instances = InstanceSection::new();
    for _ in 0..times {
        instances.instantiate(3, std::iter::empty::<(&str, ModuleArg)>());
    }
    let mut guest = calling(OK);
    RawSection { id: ComponentSectionId::CoreModule.into(), data: &module }.append_to_component(&mut guest);
    instances.append_to_component(&mut guest);
    guest
}

#[tokio::test]
async fn there_are_as_many_as_there_may_be_and_not_one_more() {
    let runtime = Runtime::new(&RuntimeConfig::default()).unwrap();
    for (module, more, refused) in [
        ("(module)", 125, "instance count too high at 129"),
        ("(module (memory 0))", 3, "memory count too high at 5"),
        ("(module (table 0 funcref))", 31, "table count too high at 33"),
    ] {
        let run = async |times| {
            let guest = runtime.prepare(&runtime.compile(&with(times, module)).unwrap()).unwrap();
            run_in(&runtime, &guest, &limits(), &Recorder::default()).await
        };
        assert_eq!(run(more).await.result.unwrap(), "{}", "{module}");
        let report = run(more + 1).await;
        assert!(is_trap(&report, refused), "{report:?}");
    }
}
