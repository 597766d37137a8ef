//! What is typed in the lab, and what is answered.

use pinion_tests::{lab::Lab, process::Finished};

pub(crate) struct Transcript<'l> {
    lab: &'l Lab,
    text: String,
}

impl<'l> Transcript<'l> {
    pub(crate) fn new(lab: &'l Lab) -> Self {
        Self { lab, text: String::new() }
    }

    pub(crate) fn on_host(&mut self, line: &str) -> String {
        self.note("pve1", line, self.lab.run(&["sh", "-c", line]).expect(line))
    }

    /// With what it complains of, as on a terminal.
    pub(crate) fn on_host_aloud(&mut self, line: &str) -> String {
        self.note("pve1", line, self.lab.run(&["sh", "-c", &format!("exec 2>&1\n{line}")]).expect(line))
    }

    pub(crate) fn in_guest(&mut self, vmid: u32, line: &str) -> String {
        self.note(&vmid.to_string(), line, self.lab.exec(vmid, &["sh", "-c", line]).expect(line))
    }

    /// What was said since the last time, as a block of Markdown.
    pub(crate) fn block(&mut self) -> String {
        format!("```console\n{}\n```\n", std::mem::take(&mut self.text).trim_end())
    }

    fn note(&mut self, place: &str, line: &str, finished: Finished) -> String {
        let said = finished.succeeded().expect(line).stdout;
        let words: Vec<&str> = line.split_whitespace().collect();
        let said_so = if said.trim().is_empty() { String::new() } else { format!("{}\n", said.trim_end()) };
        self.text += &format!("{place}# {}\n{said_so}\n", words.join(" "));
        said
    }
}
