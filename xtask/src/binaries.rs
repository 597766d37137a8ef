//! The two programs as they are shipped.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    children::{Children, cargo},
    tools::Zig,
};

/// Builds the controller; its path.
pub(crate) fn controller(root: &Path, children: &Children) -> Result<PathBuf> {
    children.run_well(cargo(root).args([
        "build",
        "--locked",
        "--release",
        "-p",
        "pinion-controller",
        "--bin",
        "pinion",
    ]))?;
    Ok(target(root).join("release/pinion"))
}

/// Builds the controller for every system whose glibc is at least this one, whatever this machine has; its path.
pub(crate) fn portable_controller(
    root: &Path,
    children: &Children,
    zig: &Zig,
    (major, minor): (u32, u32),
) -> Result<PathBuf> {
    // With a directory of its own: what it compiles for is another C library, and the target's name is the same.
    let directory = target(root).join("controller-portable");
    let mut command = zig.build();
    command.current_dir(root).args(["--locked", "--release", "-p", "pinion-controller", "--bin", "pinion"]);
    command.args(["--target", &format!("{TARGET}.{major}.{minor}"), "--target-dir"]).arg(&directory);
    children.run_well(&mut command)?;
    Ok(directory.join(TARGET).join("release/pinion"))
}

/// Builds the agent, static and small; its path.
pub(crate) fn agent(root: &Path, children: &Children) -> Result<PathBuf> {
    // With a directory of its own, because other flags would throw away everyone else's builds.
    let directory = target(root).join("agent-static");
    let mut command = cargo(root);
    command.args(["rustc", "--locked", "--profile", "agent", "-p", "pinion-agent", "--bin", "pinion-agent"]);
    // A named target keeps the flags away from build scripts, which cannot all be static.
    command.args(["--target", TARGET]).arg("--target-dir").arg(&directory);
    command.env("RUSTFLAGS", "-C target-feature=+crt-static").envs(CRYPTO);
    let layout = format!("link-arg=-Wl,-T,{}", root.join("agent/layout.ld").display());
    command.args(["--", "-C", PACKED, "-C", NO_UNWINDING, "-C", &layout]);
    children.run_well(&mut command)?;
    Ok(directory.join(TARGET).join("agent/pinion-agent"))
}

/// Builds the agent static, small and in a hurry, for tests of where it runs and how it gets there; its path.
///
/// Not as it is shipped: fat link-time optimisation takes minutes, and changes nothing about what it needs around it.
pub(crate) fn test_agent(root: &Path, children: &Children) -> Result<PathBuf> {
    let mut command = cargo(root);
    command.args(["build", "--locked", "--profile", "test-agent", "-p", "pinion-agent", "--bin", "pinion-agent"]);
    // Nothing else is built for a named target, so this throws away nobody's builds.
    command.args(["--target", TARGET]).env("RUSTFLAGS", "-C target-feature=+crt-static");
    children.run_well(&mut command)?;
    Ok(target(root).join(TARGET).join("test-agent/pinion-agent"))
}

/// Where cargo builds.
pub(crate) fn target(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

/// The C library is linked in, so the program runs in guests with another one, or none.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The index by which a stack is unwound is 100 KiB. The agent ends at a panic, which says where it was.
const NO_UNWINDING: &str = "link-arg=-Wl,--no-eh-frame-hdr";

/// How aws-lc is built. With a program that is optimised for size it would be small, too, and without its assembly for P-256,
/// which was a seventh of what looks at services took. Without what it has for AVX-512 it fits in. Random numbers come from
/// the kernel and the processor: to measure the processor's jitter besides would keep 128 KiB in memory.
const CRYPTO: [(&str, &str); 3] = [
    ("AWS_LC_SYS_SMALL", "0"),
    ("AWS_LC_SYS_CFLAGS", "-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX"),
    ("AWS_LC_SYS_NO_JITTER_ENTROPY", "1"),
];

/// A static program that may lie anywhere has a table of its own addresses, which it reads when it starts and which
/// stays in its memory. Packed it is a twentieth of the size. The C library has to know how (glibc 2.36).
const PACKED: &str = "link-arg=-Wl,-z,pack-relative-relocs";
