//! Files and folders of YAML, read with a bound.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use crate::mistake::{Mistake, MistakeKind, Mistakes, Place};

/// Most bytes of a file: 1 MiB.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The text of a file and its name, for messages.
#[derive(Debug, Clone)]
pub struct Source {
    /// Name of the file, as the user knows it.
    pub name: Arc<str>,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl Source {
    /// A source of bytes that are at hand.
    #[must_use]
    pub fn new(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or has more than [`MAX_FILE_BYTES`] bytes.
    pub fn read(path: &Path) -> Result<Self, Mistake> {
        let name: Arc<str> = path.display().to_string().into();
        let mistake = |kind| Mistake { place: Place { file: Arc::clone(&name), line: 0, field: String::new() }, kind };
        let unreadable = |error: std::io::Error| mistake(MistakeKind::Unreadable { reason: error.to_string() });
        let file = fs::File::open(path).map_err(unreadable)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file that is too large, whatever its size claims to be.
        let most = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > MAX_FILE_BYTES {
            return Err(mistake(MistakeKind::TooLarge { limit: MAX_FILE_BYTES }));
        }
        Ok(Self { name, bytes })
    }

    /// Reads the files of a folder whose names end in `.yaml` or `.yml`, in the order of their names.
    /// Folders in it are not looked into.
    ///
    /// # Errors
    /// All that cannot be read.
    pub fn read_folder(path: &Path) -> Result<Vec<Self>, Mistakes> {
        let mut mistakes = Mistakes::default();
        let mut unreadable = |reason: String| {
            let place = Place { file: path.display().to_string().into(), line: 0, field: String::new() };
            mistakes.push(Mistake { place, kind: MistakeKind::Unreadable { reason } });
        };
        let mut files = Vec::new();
        match fs::read_dir(path) {
            Err(error) => unreadable(error.to_string()),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => files.push(entry.path()),
                        Err(error) => unreadable(error.to_string()),
                    }
                }
            }
        }
        files.retain(|file| is_yaml(file) && !file.is_dir());
        files.sort();
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            match Self::read(&file) {
                Ok(source) => sources.push(source),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(sources) } else { Err(mistakes) }
    }
}

fn is_yaml(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    name.ends_with(".yaml") || name.ends_with(".yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_yaml_files_by_name_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.YML", "c.json", "d.yaml.bak"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("e.yaml")).unwrap();

        let sources = Source::read_folder(folder.path()).unwrap();

        let bytes: Vec<&[u8]> = sources.iter().map(|source| source.bytes.as_slice()).collect();
        assert_eq!(bytes, [b"a.YML".as_slice(), b"b.yaml"]);
    }

    #[test]
    fn a_file_over_the_limit_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("giant.yaml");
        fs::write(&path, vec![b'#'; MAX_FILE_BYTES + 1]).unwrap();

        let mistake = Source::read(&path).unwrap_err();

        assert_eq!(mistake.kind, MistakeKind::TooLarge { limit: 1_048_576 });
        assert!(mistake.to_string().ends_with("giant.yaml: is larger than 1048576 bytes; split it into several files"));
        assert_eq!(Source::read_folder(folder.path()).unwrap_err().kept(), [mistake]);
    }

    #[test]
    fn what_does_not_exist_is_told_by_name() {
        let error = Source::read(Path::new("/nowhere/config.yaml")).unwrap_err().to_string();

        assert!(error.starts_with("/nowhere/config.yaml: cannot be read: "), "{error}");
        assert!(Source::read_folder(Path::new("/nowhere")).is_err());
    }
}
