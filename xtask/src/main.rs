//! The project's own commands.
mod codegen;
fn main() -> anyhow::Result<()> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is in the root");
    codegen::run(root, false)
}
