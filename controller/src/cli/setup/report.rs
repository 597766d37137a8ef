//! What setup says: lines for people as things happen, or one document at the end.

use std::path::Path;

use pinion_proto::{errln, exit::Exit, failure::Failure, out, outln};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    admin::protocol::IssuerReport,
    cli::{print_failed, print_json},
    setup::example::Example,
};

/// What was done.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "Setup")]
pub(in crate::cli) struct Report {
    #[serde(skip)]
    pub(super) json: bool,
    exit: u8,
    /// Files that are new.
    written: Vec<String>,
    /// Files that were there.
    kept: Vec<String>,
    /// What the issuers say of themselves.
    issuers: Vec<IssuerReport>,
    /// What deserves a look.
    warnings: Vec<String>,
    /// Whether the controller was started, and answers.
    started: bool,
    /// A manifest with a first entry, where there is none yet.
    example: Option<String>,
    /// What kept it from its end.
    #[serde(skip)]
    problem: Option<Failure>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, ..Self::default() }
    }

    pub(super) fn line(&self, line: &str) {
        if !self.json {
            outln!("{line}");
        }
    }

    pub(super) fn written(&mut self, path: &Path) {
        self.line(&format!("{} is written", path.display()));
        self.written.push(path.display().to_string());
    }

    pub(super) fn kept(&mut self, path: &Path) {
        self.line(&format!("{} is there already, and is kept", path.display()));
        self.kept.push(path.display().to_string());
    }

    pub(super) fn issuer(&mut self, words: &str, found: &IssuerReport) {
        if !self.json {
            out!("{words}");
        }
        self.issuers.push(found.clone());
    }

    pub(super) fn warning(&mut self, words: &str) {
        errln!("warning: {words}");
        self.warnings.push(words.to_owned());
    }

    pub(super) fn problem(&mut self, exit: Exit, words: &str) {
        errln!("pinion: {words}");
        self.problem = Some(Failure::new(exit, words));
    }

    pub(super) fn started(&mut self) {
        self.line("pinion-channel and pinion run, and start at each boot; the controller answers");
        self.started = true;
    }

    /// The manifest asks for something already.
    pub(super) fn next_with_manifest(&self) {
        self.line(
            "next: `pinion plan` shows what the controller does, and `pinion ensure --until served` waits for it",
        );
    }

    /// The manifest asks for nothing yet.
    pub(super) fn next(&mut self, manifest: &Path, example: &Example) {
        let whom = match (&example.guest, &example.name) {
            (Some(guest), Some(name)) => format!("for guest {guest} ({name})"),
            (Some(guest), None) => format!("for guest {guest}"),
            (None, _) => "with the VMID of one of your guests".to_owned(),
        };
        let indented: String = example.text.lines().map(|line| format!("    {line}\n")).collect();
        self.line(&format!(
            "next: list your certificates in {}, for example {whom}:\n\n{indented}\n`pinion manifest check` reports mistakes, \
             `pinion plan` shows what the controller does, and `pinion ensure --until served` waits for it",
            manifest.display()
        ));
        self.example = Some(example.text.clone());
    }

    /// Prints the document.
    pub(super) fn end(&mut self, exit: Exit) {
        self.exit = exit.code();
        if !self.json {
            return;
        }
        let troubles = self.issuers.iter().filter_map(|found| found.trouble.as_ref());
        let of_issuers = || troubles.map(|trouble| Failure::of_trouble(exit, trouble)).next();
        match self.problem.clone().or_else(of_issuers).filter(|_| exit != Exit::Reached) {
            Some(failure) => print_failed(self, &failure),
            None => print_json(self),
        }
    }
}
