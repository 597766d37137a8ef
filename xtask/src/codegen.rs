//! What is generated and committed: the half of `proto/` that its `.proto` files describe, without protoc, and docs/reference.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use crate::children::{Children, cargo};

/// Writes the generated files, or compares them with what is there.
pub(crate) fn run(root: &Path, check: bool) -> Result<()> {
    protocol(root, check)?;
    reference(root, &Children::watched()?, check)
}

/// The reference, which a program writes that knows both of Pinion's: see `manual`.
pub(crate) fn reference(root: &Path, children: &Children, check: bool) -> Result<()> {
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--locked", "-p", "pinion-manual", "--", "reference"]);
    command.arg(root.join("docs/reference"));
    if check {
        command.arg("--check");
    }
    children.run_well(&mut command)
}

/// The generated code in `proto/src/gen`.
pub(crate) fn protocol(root: &Path, check: bool) -> Result<()> {
    let include = root.join("proto/proto");
    let files = ["pinion/v1/join.proto", "pinion/v1/link.proto"];
    let descriptors = protox::compile(files, [&include]).context("compile the .proto files")?;
    let made = tempfile::tempdir().context("make a directory for the generated code")?;
    tonic_prost_build::configure()
        .out_dir(made.path())
        .build_transport(false)
        .codec_path("crate::wire::Codec")
        .compile_fds(descriptors)
        .context("generate Rust from the descriptors")?;
    let name = "pinion.v1.rs";
    let fresh = fs::read_to_string(made.path().join(name)).context("read the generated code")?;
    let target = root.join("proto/src/gen").join(name);
    if check {
        let committed = fs::read_to_string(&target).with_context(|| format!("read {}", target.display()))?;
        if committed != fresh {
            bail!("{} is not what the .proto files say: run `cargo xtask codegen` and commit it", target.display());
        }
    } else {
        fs::create_dir_all(root.join("proto/src/gen")).context("make proto/src/gen")?;
        fs::write(&target, fresh).with_context(|| format!("write {}", target.display()))?;
    }
    Ok(())
}
