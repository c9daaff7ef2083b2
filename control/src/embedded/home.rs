//! The folder of the embedded control process, and the checks that make it safe to use.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longest path of a Unix socket that Linux takes, without the final NUL.
const SOCKET_PATH_MAX: usize = 107;

/// A folder that belongs to this user and is closed to all others.
///
/// A value of this type is proof of the check at the time it was made: a real folder
/// (no symbolic link), owned by us, mode 0700, with no parent in which somebody
/// else could put another in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    path: PathBuf,
}

/// Why a folder cannot be the home of the embedded control process.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither of the three places is known.
    #[error(
        "there is no place for Outrigger's folder: neither OUTRIGGER_HOME, XDG_STATE_HOME nor \
         HOME is set; set OUTRIGGER_HOME to an absolute path"
    )]
    NoPlace,
    /// A relative path would mean another folder in each working directory.
    #[error("the folder {} is a relative path; give an absolute one", path.display())]
    Relative {
        /// The path given.
        path: PathBuf,
    },
    /// The socket in it could not be bound.
    #[error(
        "the folder {} is too deep: the path of its socket would have {length} bytes and \
         may have {SOCKET_PATH_MAX}; set OUTRIGGER_HOME to a shorter path", path.display()
    )]
    TooLong {
        /// The path given.
        path: PathBuf,
        /// Length of the socket's path in bytes.
        length: usize,
    },
    /// A symbolic link could be pointed elsewhere.
    #[error("{} is a symbolic link; set OUTRIGGER_HOME to the folder itself", path.display())]
    Symlink {
        /// The path given.
        path: PathBuf,
    },
    /// Something else is in that place.
    #[error("{} is not a folder; move it away or set OUTRIGGER_HOME to another place", path.display())]
    NotAFolder {
        /// The path given.
        path: PathBuf,
    },
    /// It belongs to somebody else.
    #[error(
        "{} belongs to user {owner} and we are user {user}; run `chown -R {user} {}` as \
         its owner or set OUTRIGGER_HOME to a folder of your own", path.display(), path.display()
    )]
    Owner {
        /// The path given.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// Our effective uid.
        user: u32,
    },
    /// Others may enter it, or more.
    #[error(
        "{} has mode {mode:03o} and keeps keys; run `chmod 700 {}`", path.display(), path.display()
    )]
    Mode {
        /// The path given.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A parent in which anybody may put another folder in its place.
    #[error(
        "{} is inside {}, which everybody may write to and which has no sticky bit; \
         run `chmod o-w {}` or set OUTRIGGER_HOME to another place",
        path.display(), parent.display(), parent.display()
    )]
    OpenParent {
        /// The path given.
        path: PathBuf,
        /// The parent that is open to all.
        parent: PathBuf,
    },
    /// The system refused.
    #[error("cannot use the folder {}", path.display())]
    Io {
        /// The path given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Home {
    /// Where the folder is by default: `$OUTRIGGER_HOME`, else `$XDG_STATE_HOME/outrigger`,
    /// else `$HOME/.outrigger`. Empty values count as unset, and so does a relative
    /// `XDG_STATE_HOME` (XDG Base Directory Specification).
    ///
    /// # Errors
    /// [`HomeError::NoPlace`] when none is set.
    pub fn default_path(env: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, HomeError> {
        let set = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(home) = set("OUTRIGGER_HOME") {
            return Ok(home);
        }
        if let Some(state) = set("XDG_STATE_HOME").filter(|path| path.is_absolute()) {
            return Ok(state.join("outrigger"));
        }
        set("HOME").map(|home| home.join(".outrigger")).ok_or(HomeError::NoPlace)
    }

    /// Makes the folder with mode 0700 where there is none, and checks it.
    ///
    /// # Errors
    /// Each says what is wrong with the folder and what mends it.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let io = |source| HomeError::Io { path: path.to_path_buf(), source };
        check_path(path)?;
        if let Err(error) = fs::symlink_metadata(path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(io(error));
            }
            create(path).map_err(io)?;
        }
        let found = fs::symlink_metadata(path).map_err(io)?;
        check_folder(path, &found, rustix::process::geteuid().as_raw())?;
        check_parents(path)?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lock of the one that is elected; held for as long as it lives, never removed.
    pub fn lock(&self) -> PathBuf {
        self.path.join("control.lock")
    }

    /// Lock of the one that is starting the process just now; never removed.
    pub(crate) fn start_lock(&self) -> PathBuf {
        self.path.join("control.start.lock")
    }

    /// The Unix socket with the certificate authority and the registry.
    pub fn socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    /// What the running process says of itself.
    pub fn status(&self) -> PathBuf {
        self.path.join("control.json")
    }

    /// The log of the process.
    pub fn log(&self) -> PathBuf {
        self.path.join("control.log")
    }

    /// Keys and certificates of the authority.
    pub fn ca(&self) -> PathBuf {
        self.path.join("ca")
    }

    /// The roots to trust, as PEM: what `DAPR_TRUST_ANCHORS` of a stock sidecar should hold.
    pub fn trust_anchors(&self) -> PathBuf {
        self.path.join("trust-anchors.pem")
    }

    /// Where the authority is reached over TCP: what a restart takes over.
    pub(crate) fn ca_listen(&self) -> PathBuf {
        self.path.join("ca-listen")
    }

    /// The secret that the TCP door of the authority wants to see.
    pub fn join_token(&self) -> PathBuf {
        self.path.join("join-token")
    }
}

fn check_path(path: &Path) -> Result<(), HomeError> {
    if !path.is_absolute() {
        return Err(HomeError::Relative { path: path.to_path_buf() });
    }
    let length = path.join("control.sock").as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        return Err(HomeError::TooLong { path: path.to_path_buf(), length });
    }
    Ok(())
}

fn create(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        // Another process made it in this very moment: the checks that follow judge it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn check_folder(path: &Path, found: &Metadata, user: u32) -> Result<(), HomeError> {
    let path = path.to_path_buf();
    if found.file_type().is_symlink() {
        return Err(HomeError::Symlink { path });
    }
    if !found.is_dir() {
        return Err(HomeError::NotAFolder { path });
    }
    if found.uid() != user {
        return Err(HomeError::Owner { path, owner: found.uid(), user });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 || mode & 0o700 != 0o700 {
        return Err(HomeError::Mode { path, mode });
    }
    Ok(())
}

fn check_parents(path: &Path) -> Result<(), HomeError> {
    const OTHERS_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    let io = |source| HomeError::Io { path: path.to_path_buf(), source };
    for parent in path.ancestors().skip(1) {
        let mode = fs::metadata(parent).map_err(io)?.mode();
        if mode & OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return Err(HomeError::OpenParent { path: path.to_path_buf(), parent: parent.to_path_buf() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_missing_folder_is_made_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/outrigger");
        let home = Home::open(&path).unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(Home::open(&path).unwrap(), home);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused_with_the_fix() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o755, 0o770, 0o701, 0o500] {
            chmod(dir.path(), mode);
            let error = Home::open(dir.path()).unwrap_err();
            assert!(matches!(error, HomeError::Mode { mode: found, .. } if found == mode));
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
        chmod(dir.path(), 0o700);
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        Home::open(&real).unwrap();
        let link = dir.path().join("link");
        symlink(&real, &link).unwrap();
        assert!(matches!(Home::open(&link), Err(HomeError::Symlink { .. })));
    }

    #[test]
    fn a_dangling_link_is_refused_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        symlink(dir.path().join("nowhere"), &link).unwrap();
        assert!(matches!(Home::open(&link), Err(HomeError::Symlink { .. })));
        assert!(!dir.path().join("nowhere").exists());
    }

    #[test]
    fn a_file_in_its_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(Home::open(&file), Err(HomeError::NotAFolder { .. })));
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let found = fs::symlink_metadata(dir.path()).unwrap();
        let error = check_folder(dir.path(), &found, found.uid() + 1).unwrap_err();
        assert!(matches!(error, HomeError::Owner { .. }));
        assert!(error.to_string().contains("chown"), "{error}");
    }

    #[test]
    fn a_parent_that_anybody_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let parent = dir.path().join("open");
        fs::create_dir(&parent).unwrap();
        chmod(&parent, 0o777);
        assert!(matches!(Home::open(&parent.join("home")), Err(HomeError::OpenParent { .. })));
        chmod(&parent, 0o1777);
        Home::open(&parent.join("home")).unwrap();
    }

    #[test]
    fn a_relative_or_a_very_long_path_is_refused() {
        assert!(matches!(Home::open(Path::new("here")), Err(HomeError::Relative { .. })));
        let long = PathBuf::from(format!("/tmp/{}", "x".repeat(100)));
        assert!(matches!(Home::open(&long), Err(HomeError::TooLong { length: 118, .. })));
    }

    #[test]
    fn the_default_follows_three_variables_in_order() {
        let from = |pairs: &'static [(&str, &str)]| {
            Home::default_path(move |name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into()))
                .ok()
        };
        let all = &[("OUTRIGGER_HOME", "/o"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(from(all), Some("/o".into()));
        assert_eq!(from(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")]), Some("/x/outrigger".into()));
        assert_eq!(from(&[("XDG_STATE_HOME", "x"), ("HOME", "/h")]), Some("/h/.outrigger".into()));
        assert_eq!(from(&[("OUTRIGGER_HOME", ""), ("HOME", "/h")]), Some("/h/.outrigger".into()));
        assert_eq!(from(&[]), None);
    }
}
