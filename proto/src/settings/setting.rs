//! One setting of a file, described once: for the reader of the file, and for the reference.

/// A setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as it is written.
    pub name: &'static str,
    /// What its value is, in a word or two; empty for a table.
    pub kind: &'static str,
    /// What holds without it.
    pub default: Otherwise,
    /// What it decides, for administrators.
    pub meaning: &'static str,
}

/// What holds where a setting is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Otherwise {
    /// It has to be written.
    Required,
    /// This value, as TOML.
    Value(&'static str),
    /// Something that a value does not say, in words.
    Words(&'static str),
}

/// The settings of one table of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its header, such as `retry`; empty for the top of the file.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Its settings; none where the names are the administrator's own.
    pub settings: &'static [Setting],
}

impl Table {
    /// The names of its settings.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.settings.iter().map(|setting| setting.name).collect()
    }
}

/// A setting in one line of code.
#[must_use]
pub const fn setting(name: &'static str, kind: &'static str, default: Otherwise, meaning: &'static str) -> Setting {
    Setting { name, kind, default, meaning }
}
