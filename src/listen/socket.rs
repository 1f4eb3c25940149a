//! Binding TCP and Unix sockets, before anything is served: so that a taken port is a clear error and port 0's real number is known.

use std::{
    fs, io,
    net::{IpAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

use super::ListenAddress;

/// Mode of a Unix socket: its owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Why a listener cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on `{address}`: {problem}")]
    Bind {
        /// Where.
        address: String,
        /// What is wrong and what to do.
        problem: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A certificate file cannot be used.
    #[error("cannot use `{file}`: {problem}")]
    Certificate {
        /// Which file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// The worker threads cannot be started.
    #[error("cannot start the worker threads: {0}")]
    Workers(#[source] io::Error),
}

/// A bound socket that nobody is accepted on yet.
#[derive(Debug)]
pub(super) enum Socket {
    /// TCP.
    Tcp(TcpListener),
    /// A Unix socket and its file.
    Unix(UnixListener, SocketFile),
}

/// A connection just accepted.
#[derive(Debug)]
pub(super) enum Accepted {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Socket {
    /// Binds `address` without blocking mode.
    pub(super) fn bind(address: &ListenAddress) -> Result<Self, ListenError> {
        let failed = |source: io::Error| ListenError::Bind { address: address.to_string(), problem: explain(&source, address), source };
        match address {
            ListenAddress::Tcp(ip) => {
                let listener = TcpListener::bind(ip).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Tcp(listener))
            }
            ListenAddress::Unix(path) => {
                clear_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                let file = SocketFile::of(path).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
                listener.set_nonblocking(true).map_err(failed)?;
                Ok(Self::Unix(listener, file))
            }
        }
    }

    /// The address that is really listened on.
    pub(super) fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
        }
    }
}

/// What to do about a failed bind.
fn explain(error: &io::Error, address: &ListenAddress) -> String {
    let advice = match (error.kind(), address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp(_)) => "the port is in use; stop the other process or choose another port",
        (io::ErrorKind::AddrInUse, ListenAddress::Unix(_)) => "another process listens there; stop it or choose another path",
        (io::ErrorKind::AddrNotAvailable, _) => "no interface of this machine has this address",
        (io::ErrorKind::PermissionDenied, ListenAddress::Tcp(_)) => "not permitted; ports below 1024 need privileges",
        (io::ErrorKind::PermissionDenied, ListenAddress::Unix(_)) => "not permitted; its folder must be writable",
        (io::ErrorKind::NotFound, ListenAddress::Unix(_)) => "its folder does not exist; create it first",
        _ => return error.to_string(),
    };
    advice.to_owned()
}

/// Removes a socket that a dead process left behind; anything else at `path` is an error.
fn clear_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::other("there is something that is not a socket; remove it or choose another path"));
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        // Somebody accepts there, or their queue is full.
        Ok(_) | Err(_) => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket; removed when dropped, unless another process has put its own there since.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// A socket registered with the reactor of the runtime it was made in.
#[derive(Debug)]
pub(super) enum Acceptor {
    /// TCP.
    Tcp(tokio::net::TcpListener),
    /// A Unix socket; its file goes with it.
    Unix(tokio::net::UnixListener, #[allow(dead_code, reason = "held for its drop")] SocketFile),
}

impl Acceptor {
    /// Registers `socket`.
    pub(super) fn new(socket: Socket) -> Result<Self, ListenError> {
        let address = socket.address().map_or_else(|_| "?".to_owned(), |address| address.to_string());
        let registered = match socket {
            Socket::Tcp(listener) => tokio::net::TcpListener::from_std(listener).map(Self::Tcp),
            Socket::Unix(listener, file) => tokio::net::UnixListener::from_std(listener).map(|listener| Self::Unix(listener, file)),
        };
        registered.map_err(|source| ListenError::Bind { address, problem: source.to_string(), source })
    }

    /// The next connection and its TCP peer, canonical. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<(Accepted, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Accepted::Tcp(stream.into_std()?), Some(peer.ip().to_canonical())))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok((Accepted::Unix(stream.into_std()?), None))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn unix(path: &Path) -> ListenAddress {
        ListenAddress::Unix(path.to_owned())
    }

    #[test]
    fn a_taken_port_is_a_clear_error() {
        let first = Socket::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let taken = first.address().unwrap();
        let error = Socket::bind(&taken).unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on `{taken}`: the port is in use; stop the other process or choose another port"));
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_goes_when_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.sock");
        let socket = Socket::bind(&unix(&path)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.sock");
        drop(UnixListener::bind(&path).unwrap());
        let live = Socket::bind(&unix(&path)).unwrap();
        let error = Socket::bind(&unix(&path)).unwrap_err().to_string();
        assert!(error.contains("another process listens there"), "{error}");
        assert!(UnixStream::connect(&path).is_ok(), "the live socket must survive the attempt");
        drop(live);
    }

    #[test]
    fn another_kind_of_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        fs::write(&path, "precious").unwrap();
        let error = Socket::bind(&unix(&path)).unwrap_err().to_string();
        assert!(error.contains("not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_was_replaced_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("check.sock");
        let old = Socket::bind(&unix(&path)).unwrap();
        let moved = folder.path().join("moved.sock");
        fs::rename(&path, moved).unwrap();
        let new = Socket::bind(&unix(&path)).unwrap();
        drop(old);
        assert!(path.exists());
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_missing_folder_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/check.sock");
        let error = Socket::bind(&unix(&path)).unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on `unix:{}`: its folder does not exist; create it first", path.display()));
    }
}
