//! Servers that say exactly what a test wants, byte by byte, over TCP or TLS. Each ends with the test's process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One part of an answer: wait, then write.
pub(crate) type Part = (u64, Vec<u8>);

/// What a server was asked, newest last: head and body.
pub(crate) type Asked = Arc<Mutex<Vec<String>>>;

/// An HTTP server that answers each connection's one request with what `answer` makes of it.
pub(crate) fn http(answer: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static) -> (SocketAddr, Asked) {
    serve(move |socket, asked| talk(socket, &answer, asked))
}

/// The same over TLS, with a certificate for `localhost`.
pub(crate) fn https(answer: impl Fn(&str) -> Vec<Part> + Send + Sync + 'static) -> (SocketAddr, Asked) {
    serve(move |socket, asked| talk(secured(socket), &answer, asked))
}

/// Accepts connections and has each served by a thread of its own.
pub(crate) fn serve(work: impl Fn(TcpStream, &Asked) + Send + Sync + 'static) -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let (work, kept) = (Arc::new(work), Arc::clone(&asked));
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let (work, asked) = (Arc::clone(&work), Arc::clone(&kept));
            std::thread::spawn(move || work(socket, &asked));
        }
    });
    (address, asked)
}

/// Speaks TLS as the server `localhost`.
pub(crate) fn secured(socket: TcpStream) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    crate::runtime::tls::install();
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("../../connect/client/tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../connect/client/tls/server.key")).unwrap();
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::new(config)).unwrap(), socket)
}

fn talk(mut stream: impl Read + Write, answer: &impl Fn(&str) -> Vec<Part>, asked: &Asked) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            // A client that does not trust us hangs up during the handshake.
            Ok(0) | Err(_) => return,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
    }
    // The body may come behind the head.
    let whole = |text: &[u8]| {
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        length.and_then(|length| length.trim().parse().ok()).is_none_or(|length: usize| body.len() >= length)
    };
    while !whole(&head) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => head.extend_from_slice(&buffer[..read]),
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    asked.lock().unwrap().push(head.clone());
    for (wait, bytes) in answer(&head) {
        std::thread::sleep(Duration::from_millis(wait));
        // The client may have had enough by now.
        if stream.write_all(&bytes).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

/// An answer at once, whole.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> Vec<Part> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    vec![(0, [head.as_bytes(), body.as_bytes()].concat())]
}
