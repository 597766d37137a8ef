//! What docs/packages.md says of the packages, measured: their dependencies, their files, and what systemd thinks of the units.
//!
//! It leaves all of it, with the sizes, in `target/packages.md`. `PINION_PACKAGES=target/dist` measures a release.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use pinion_tests::{
    lab::{
        Role,
        booted::{Booted, UNITS},
    },
    process, program,
    wait::PATIENCE,
};

use crate::apt::{VERSION, apt};

const PACKAGES: [&str; 2] = ["pinion", "pinion-agent"];

/// Ansible's roles and playbook, which the test `ansible` takes out of the package.
const ROLES: &str = "/usr/share/pinion/ansible/";

#[test]
fn the_packages_are_as_the_documents_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/packages.md");
    let document = fs::read_to_string(path).expect("docs/packages.md");
    let host = Booted::debian(Role::Debian12).expect("made");
    host.boot().expect("it boots");
    apt(&host, "install", VERSION);

    let mut measured = String::new();
    let mut missing = Vec::new();
    let mut check = |row: String| {
        if !document.contains(&row) {
            missing.push(row.clone());
        }
        writeln!(measured, "{row}").expect("written");
    };
    for unit in UNITS {
        check(format!("| `{unit}` | {} |", exposure(&host, unit)));
    }
    for package in PACKAGES {
        // Without versions: those of a debug build are others than a release's.
        let depends = field(package, "Depends");
        let of = |name: &str| name.split_once(" (").map_or(name, |(name, _)| name).to_owned();
        let either = |names: &str| names.split(" | ").map(of).collect::<Vec<_>>().join(" or ");
        let depends = depends.split(", ").map(either).collect::<Vec<_>>().join(", ");
        check(format!("| `{package}` | {} |", if depends.is_empty() { "nothing" } else { &depends }));
    }
    for package in PACKAGES {
        let files = files(&host, package);
        check(format!("```text\n{}\n```", files.join("\n")));
    }
    let told = PACKAGES.map(|package| format!("| `{package}` | {} | {} |", size(package), lintian(package)));
    measured += &told.join("\n");
    println!("{measured}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in target/");
    fs::write(target.join("packages.md"), &measured).expect("written");
    assert!(missing.is_empty(), "docs/packages.md does not have:\n{}", missing.join("\n"));
}

/// What systemd says of a unit, from 0, which is shut off from everything, to 10.
fn exposure(host: &Booted, unit: &str) -> String {
    let told = host.well(&["systemd-analyze", "security", "--no-pager", unit]).expect("systemd analyses it").stdout;
    let line = told.lines().find(|line| line.contains("Overall exposure level")).expect("a figure");
    line.split_whitespace().find(|word| word.parse::<f32>().is_ok()).expect("a figure").to_owned()
}

/// The files of a package, by directory where there are many of a kind.
fn files(host: &Booted, package: &str) -> Vec<String> {
    let listed = host.well(&["dpkg", "--listfiles", package]).expect("it is installed").stdout;
    let mut files: Vec<String> = Vec::new();
    for path in listed.lines() {
        let path = path.trim();
        let is_directory = host.path(path).is_dir();
        let of_many = ["/usr/share/man/man1/", "/usr/share/doc/", ROLES]
            .into_iter()
            .find(|directory| path.starts_with(directory));
        let shown = match of_many {
            _ if is_directory => continue,
            Some(ROLES) => format!("{ROLES}…"),
            Some("/usr/share/doc/") => format!("/usr/share/doc/{package}/…"),
            Some(directory) => format!("{directory}{package}*.1.gz"),
            None => path.to_owned(),
        };
        files.push(shown);
    }
    files.sort();
    files.dedup();
    files
}

fn package(name: &str) -> std::path::PathBuf {
    program::packages(VERSION).expect("built").join(format!("{name}_{VERSION}_amd64.deb"))
}

/// A field of its control file.
fn field(name: &str, field: &str) -> String {
    let told = process::run(Command::new("dpkg-deb").arg("--field").arg(package(name)).arg(field), b"", PATIENCE);
    told.and_then(process::Finished::succeeded).expect("dpkg reads it").stdout.trim().to_owned()
}

/// Packed, and installed.
fn size(name: &str) -> String {
    let packed = fs::metadata(package(name)).expect("there").len();
    let installed: u64 = field(name, "Installed-Size").parse().expect("a number");
    // Tenths of MiB in whole numbers.
    let mib = |kib: u64| format!("{}.{} MiB", kib * 10 / 1024 / 10, kib * 10 / 1024 % 10);
    format!("{} | {}", mib(packed / 1024), mib(installed))
}

/// What lintian has to say, which is no error and no warning, and how much of it is overridden with a reason.
fn lintian(name: &str) -> String {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--display-info", "--pedantic", "--show-overrides", "--fail-on", "none"]);
    let looked = process::run(lintian.arg(package(name)), b"", PATIENCE * 4).expect("it runs");
    let told = looked.succeeded().expect("it looks at the package").stdout;
    println!("{told}");
    let count = |letter: &str| told.lines().filter(|line| line.starts_with(letter)).count();
    assert_eq!((count("E: "), count("W: ")), (0, 0), "{told}");
    format!("no error, no warning, {} hints, {} overridden", count("I: ") + count("P: "), count("O: "))
}
