//! `pinion manifest import phoenix`: reads an old manifest, and writes the new one, its hooks and the report.
//!
//! Invariant: a file that is there is replaced only with `--force`, and nothing is written if one of them would be; the
//! manifest comes last. Nothing is executed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use clap::Subcommand;
use pinion_proto::{err, errln, exit::Exit, failure::Failure, out, printable, spec::PlainName};

use crate::manifest::import::{self, ImportError, Imported, MAX_BYTES};

#[derive(Debug, Subcommand)]
pub(super) enum ImportVerb {
    /// Import the certificate-manifest.json of the Phoenix scripts.
    ///
    /// Prints the new manifest, and on standard error a report: what each entry became, why, and what you should look at.
    /// Commands that Pinion does not know become hooks for you to review. Nothing is executed, and nothing that is in force
    /// changes. Exits with 2 if the old manifest has mistakes; all of them are reported.
    #[command(
        after_long_help = "Examples:\n  pinion manifest import phoenix old.json --output new.json --report report.txt\n  pinion plan new.json"
    )]
    Phoenix(ImportArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The old manifest.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Write the new manifest here instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the report here instead of standard error. With `--json` it is JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the hooks below this directory; without it, beside the new manifest.
    #[arg(long, value_name = "DIR")]
    hooks: Option<PathBuf>,
    /// The issuer that signs the certificates, as controller.toml names it.
    #[arg(long, value_name = "NAME", default_value = "step-ca")]
    issuer: PlainName,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

/// Everybody may read a manifest; hooks and the report have old command lines in them.
const MANIFEST_MODE: u32 = 0o644;
const PRIVATE_MODE: u32 = 0o600;

/// A file to be written.
struct Output<'t> {
    path: PathBuf,
    text: &'t str,
    mode: u32,
}

/// Imports.
pub(super) fn import(args: &ImportArgs, json: bool) -> Result<Exit, Failure> {
    let bytes = read(&args.file).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read the old manifest {}", args.file.display())).cause(error)
    })?;
    let imported = match import::import(&bytes, args.issuer.clone()) {
        Ok(imported) => imported,
        Err(ImportError::Bad(errors)) => {
            // Each mistake is a line that begins with its place, as editors know it.
            let file = args.file.display();
            let lines: String = errors.to_string().lines().map(|line| format!("\n{file}:{line}")).collect();
            return Err(Failure::new(Exit::Usage, format!("the old manifest cannot be imported:{lines}")));
        }
        Err(error) => return Err(Failure::of(Exit::Internal, &error)),
    };
    let report = if json {
        let text = serde_json::to_string(&imported.report)
            .map_err(|error| Failure::new(Exit::Internal, "cannot write the report").cause(error))?;
        format!("{}\n", printable::json(&text))
    } else {
        format!("{}\n", imported.report)
    };
    let outputs = outputs(args, &imported, &report);
    write(&outputs, args.force)?;
    if args.output.is_none() {
        out!("{}", imported.manifest);
    }
    match (&args.report, &args.output) {
        (Some(_), _) => {}
        // JSON is on standard output, unless the manifest is there.
        (None, Some(_)) if json => out!("{report}"),
        (None, _) => err!("{report}"),
    }
    if !imported.report.hooks.is_empty() && hooks(args).is_none() {
        errln!("pinion: the hooks are not written: give --output FILE or --hooks DIR");
    }
    Ok(Exit::Reached)
}

/// At most a byte more than is imported.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The directory of the hooks: the one that was given, or one beside the manifest.
fn hooks(args: &ImportArgs) -> Option<PathBuf> {
    let beside = |output: &PathBuf| {
        let stem = output.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        output.with_file_name(format!("{stem}-hooks"))
    };
    args.hooks.clone().or_else(|| args.output.as_ref().map(beside))
}

/// All files, the manifest last.
fn outputs<'t>(args: &ImportArgs, imported: &'t Imported, report: &'t str) -> Vec<Output<'t>> {
    let mut outputs = Vec::new();
    if let Some(directory) = hooks(args) {
        for hook in &imported.report.hooks {
            outputs.push(Output { path: directory.join(&hook.file), text: &hook.content, mode: PRIVATE_MODE });
        }
    }
    if let Some(path) = &args.report {
        outputs.push(Output { path: path.clone(), text: report, mode: PRIVATE_MODE });
    }
    if let Some(path) = &args.output {
        outputs.push(Output { path: path.clone(), text: &imported.manifest, mode: MANIFEST_MODE });
    }
    outputs
}

fn write(outputs: &[Output<'_>], force: bool) -> Result<(), Failure> {
    let there: Vec<_> = outputs.iter().filter(|output| output.path.symlink_metadata().is_ok()).collect();
    if !force && !there.is_empty() {
        let there: Vec<_> = there.iter().map(|output| output.path.display().to_string()).collect();
        return Err(Failure::new(Exit::Usage, format!("already there: {}", there.join(", ")))
            .remedy("choose another file, or replace it with --force"));
    }
    for output in outputs {
        output.write(force).map_err(|error| {
            Failure::new(Exit::Internal, format!("cannot write {}", output.path.display())).cause(error)
        })?;
    }
    Ok(())
}

impl Output<'_> {
    /// Writes all of it beside its place, and then puts it there.
    fn write(&self, force: bool) -> io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if self.mode == PRIVATE_MODE {
            DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy().into_owned();
        let beside = directory.join(format!(".{name}.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&beside)?;
        let written = file.write_all(self.text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| {
            if force {
                return fs::rename(&beside, &self.path);
            }
            // A link, unlike a rename, does not replace a file that has come meanwhile; Proxmox's file system has none.
            match fs::hard_link(&beside, &self.path) {
                Ok(()) => fs::remove_file(&beside),
                Err(error) if self.path.symlink_metadata().is_ok() => Err(error),
                Err(_) => fs::rename(&beside, &self.path),
            }
        });
        if written.is_err() {
            fs::remove_file(&beside).ok();
        }
        written?;
        File::open(directory)?.sync_all()
    }
}
