//! A pair that the command line describes: one command, run by the shell once for each side.

use std::path::Path;

use anyhow::{Context, bail};

use super::{Bench, Pair, free_port, loopback};
use crate::load::Target;
use crate::process::Process;

/// `name=command`, and the path it is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) name: String,
    command: String,
    path: String,
}

/// What the command may name for one side.
struct Words<'a> {
    side: &'a str,
    listen: u16,
    next: u16,
    origin: u16,
    spare: [u16; 4],
    folder: &'a Path,
}

impl Peer {
    /// Reads `name=command`; `paths` holds `name=/path` of any peer.
    pub(crate) fn parse(text: &str, paths: &[String]) -> anyhow::Result<Self> {
        let Some((name, command)) = text.split_once('=') else {
            bail!("--peer {text}: write name=command");
        };
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            bail!("--peer {text}: the name may hold letters, digits and '-'");
        }
        let path = paths.iter().find_map(|path| path.strip_prefix(name)?.strip_prefix('=')).unwrap_or("/echo");
        Ok(Self { name: name.to_owned(), command: command.to_owned(), path: path.to_owned() })
    }

    pub(super) fn start(&self, bench: &Bench, folder: &Path) -> anyhow::Result<Pair> {
        let (a, b) = (free_port()?, free_port()?);
        let callee = self.side("b", b, bench.origin.port(), bench, folder)?;
        let caller = self.side("a", a, b, bench, folder)?;
        Ok(Pair::new(Target::post(loopback(a), &self.path), vec![caller, callee]))
    }

    fn side(&self, side: &str, listen: u16, next: u16, bench: &Bench, folder: &Path) -> anyhow::Result<Process> {
        let spare = [free_port()?, free_port()?, free_port()?, free_port()?];
        let words = Words { side, listen, next, origin: bench.origin.port(), spare, folder };
        let mut command = bench.command(Path::new("/bin/sh"));
        // `exec` keeps the process that is measured the one that was started.
        command.arg("-c").arg(format!("exec {}", words.fill(&self.command)));
        Process::start(side, command, folder).with_context(|| format!("start the peer {}", self.name))
    }
}

impl Words<'_> {
    fn fill(&self, command: &str) -> String {
        let mut text = command
            .replace("{side}", self.side)
            .replace("{listen}", &self.listen.to_string())
            .replace("{next}", &self.next.to_string())
            .replace("{origin}", &self.origin.to_string())
            .replace("{folder}", &self.folder.display().to_string());
        for (number, port) in (1..).zip(self.spare) {
            text = text.replace(&format!("{{spare{number}}}"), &port.to_string());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_command_is_filled_in() {
        let words = Words { side: "a", listen: 1, next: 2, origin: 3, spare: [4, 5, 6, 7], folder: Path::new("/f") };
        let filled = words.fill("x {side} {listen} {next} {origin} {spare1}{spare4} {folder}");
        assert_eq!(filled, "x a 1 2 3 47 /f");
    }

    #[test]
    fn a_path_belongs_to_the_peer_that_it_names() {
        let paths = ["other=/no".to_owned(), "stock=/v1.0/x".to_owned()];
        let peer = Peer::parse("stock=cmd --flag=value", &paths).unwrap();
        assert_eq!((peer.command.as_str(), peer.path.as_str()), ("cmd --flag=value", "/v1.0/x"));
        assert!(Peer::parse("no-command", &paths).is_err());
    }
}
