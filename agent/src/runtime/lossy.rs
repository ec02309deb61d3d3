//! A place to write to that may fail without anybody noticing but its reader: a full disk on the log stops nothing.

use std::fmt;
use std::io::{self, Write};

/// Takes everything. What cannot be written is lost, which is told once, and again after it went well in between.
pub struct Lossy<W> {
    inner: W,
    /// How the place is called when it is told; none: nobody is told.
    name: Option<String>,
    failing: bool,
    /// The last line that reached the place may have no end.
    torn: bool,
}

impl<W> fmt::Debug for Lossy<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lossy").field("failing", &self.failing).finish_non_exhaustive()
    }
}

impl<W: Write> Lossy<W> {
    /// Losses are told on standard error, of the place by this name.
    pub fn named(inner: W, name: impl Into<String>) -> Self {
        Self { inner, name: Some(name.into()), failing: false, torn: false }
    }

    /// Nobody is told of losses: for standard error itself.
    pub const fn silent(inner: W) -> Self {
        Self { inner, name: None, failing: false, torn: false }
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.torn {
            self.inner.write_all(b"\n")?;
            self.torn = false;
        }
        // Until it is whole, it may be a part.
        self.torn = true;
        self.inner.write_all(bytes)?;
        self.inner.flush()?;
        self.torn = !bytes.ends_with(b"\n");
        Ok(())
    }
}

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.put(bytes) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if let Some(name) = self.name.as_ref().filter(|_| !self.failing) {
                    let _ = writeln!(io::stderr(), "whimbrel: {name} cannot be written ({error}); going on without it");
                }
                self.failing = true;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so many bytes left.
    struct Disk {
        left: usize,
        kept: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let some = bytes.len().min(self.left);
            if some == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.left -= some;
            self.kept.extend_from_slice(&bytes[..some]);
            Ok(some)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_leaves_whole_ones_before_and_after() {
        let mut log = Lossy::named(Disk { left: 10, kept: Vec::new() }, "the log");
        for line in ["first\n", "second\n", "third\n"] {
            assert!(log.write_all(line.as_bytes()).is_ok(), "{line}");
        }
        assert!(log.failing);
        log.inner.left = 100;
        log.write_all(b"fourth\n").unwrap();
        assert_eq!(String::from_utf8(log.inner.kept).unwrap(), "first\nseco\nfourth\n");
        assert!(!log.failing);
    }
}
