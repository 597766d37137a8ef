//! A guest's configuration as Proxmox writes it: `key: value` lines, then a section for each snapshot.
//!
//! Invariant: what is not changed is written as it was read.

use std::fmt;

/// A configuration and those that its snapshots had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conf {
    /// The values in force, in the file's order.
    pub current: Section,
    /// By the snapshots' names, oldest first.
    pub snapshots: Vec<(String, Section)>,
}

/// Values, in the file's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Section(Vec<(String, String)>);

impl Section {
    /// A value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Sets a value where it stands, or at the end.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(known, _)| known != key);
    }

    /// All values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl Conf {
    /// Reads a file; lines that are no `key: value` are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut conf = Self::default();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                conf.snapshots.push((name.to_owned(), Section::default()));
            } else if let Some((key, value)) = line.split_once(": ") {
                let section = conf.snapshots.last_mut().map_or(&mut conf.current, |(_, section)| section);
                section.set(key, value);
            }
        }
        conf
    }

    /// A snapshot's values.
    #[must_use]
    pub fn snapshot(&self, name: &str) -> Option<&Section> {
        self.snapshots.iter().find(|(known, _)| known == name).map(|(_, section)| section)
    }
}

impl fmt::Display for Conf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.current.iter() {
            writeln!(f, "{key}: {value}")?;
        }
        for (name, section) in &self.snapshots {
            writeln!(f, "\n[{name}]")?;
            for (key, value) in section.iter() {
                writeln!(f, "{key}: {value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_apart_and_everything_is_written_as_it_was_read() {
        let text = "hostname: gateway\nparent: before\n\n[before]\nhostname: old\nsnaptime: 1\n";
        let mut conf = Conf::parse(text);
        assert_eq!(conf.current.get("hostname"), Some("gateway"));
        assert_eq!(conf.snapshot("before").and_then(|section| section.get("hostname")), Some("old"));
        assert_eq!(conf.to_string(), text);
        conf.current.set("hostname", "new");
        conf.current.remove("parent");
        assert_eq!(conf.to_string(), "hostname: new\n\n[before]\nhostname: old\nsnaptime: 1\n");
    }
}
