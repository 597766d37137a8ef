//! What the packages are made of.

use std::process::Command;

use pinion_tests::{process, program, wait::PATIENCE};

#[test]
fn lintian_finds_no_errors() {
    for name in ["pinion", "pinion-agent"] {
        let version = env!("CARGO_PKG_VERSION");
        let package = program::packages(version).expect("built").join(format!("{name}_{version}_amd64.deb"));
        let mut lintian = Command::new("lintian");
        lintian.args(["--allow-root", "--fail-on", "error"]).arg(&package);
        let looked = process::run(&mut lintian, b"", PATIENCE * 4).expect("it runs");
        assert_eq!(looked.code(), 0, "{looked}");
    }
}
