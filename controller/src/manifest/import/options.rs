//! The arguments of a program, told into options and operands as getopt(3) does.

/// What follows a program's name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// `-m`, `--mode`, each with its value if it takes one.
    pub(super) options: Vec<(String, Option<String>)>,
    pub(super) operands: Vec<String>,
}

impl Arguments {
    /// Reads them, where options of `valued` have a value; none if a value is missing.
    pub(super) fn read(words: &[String], valued: &[&str]) -> Option<Self> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                arguments.operands.extend(words.by_ref().cloned());
            } else if let Some((name, value)) = word.split_once('=').filter(|_| word.starts_with("--")) {
                arguments.options.push((name.to_owned(), Some(value.to_owned())));
            } else if word.starts_with("--") || (word.starts_with('-') && valued.contains(&word.as_str())) {
                let value = if valued.contains(&word.as_str()) { Some(words.next()?.clone()) } else { None };
                arguments.options.push((word.clone(), value));
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                arguments.letters(letters, valued, &mut words)?;
            } else {
                arguments.operands.push(word.clone());
            }
        }
        Some(arguments)
    }

    /// `-vm600`.
    fn letters<'w>(
        &mut self,
        letters: &str,
        valued: &[&str],
        words: &mut impl Iterator<Item = &'w String>,
    ) -> Option<()> {
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            if valued.contains(&name.as_str()) {
                let rest = letters.get(at + letter.len_utf8()..).unwrap_or_default();
                let value = if rest.is_empty() { words.next()?.clone() } else { rest.to_owned() };
                self.options.push((name, Some(value)));
                return Some(());
            }
            self.options.push((name, None));
        }
        Some(())
    }

    /// Whether there are no other options than these.
    pub(super) fn only(&self, known: &[&str]) -> bool {
        self.options.iter().all(|(name, _)| known.contains(&name.as_str()))
    }

    /// Whether one of these options is there.
    pub(super) fn has(&self, names: &[&str]) -> bool {
        self.options.iter().any(|(name, _)| names.contains(&name.as_str()))
    }

    /// The value of the last of these options.
    pub(super) fn value(&self, names: &[&str]) -> Option<&str> {
        let found = self.options.iter().rev().find(|(name, _)| names.contains(&name.as_str()))?;
        found.1.as_deref()
    }
}
