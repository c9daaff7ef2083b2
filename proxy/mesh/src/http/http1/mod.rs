//! HTTP/1.1 on a socket, strictly: heads by `httparse`, framing and bodies by us.
//!
//! A message that two readers could read differently is refused (RFC 9112, sections 6 and
//! 11.2). One task runs a connection; what is at hand leaves in one write.

mod chunked;
mod date;
mod head;
mod reader;
mod server;
mod writer;

pub(super) use head::{ResponseHead, content_length, is_chunked, keeps_alive};
pub(super) use reader::{Framing, Reader, Role};
pub(super) use server::{Served, serve};
pub(super) use writer::Writer;
