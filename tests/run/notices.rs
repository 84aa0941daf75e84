//! Notices over HTTPS, to a server whose authority is known to those alone whom `SSL_CERT_FILE` tells.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    sync::mpsc::{self, Receiver},
    thread,
};

use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    ssl::{SslAcceptor, SslMethod},
    x509::{
        X509, X509Builder, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};
use serde_json::{Value, json};

use super::world::World;
use crate::support::PATIENCE;

const GOOD: &str = "[[targets]]\nname = \"good\"\nplatform = \"command\"\n";

/// A certificate and its key.
struct Identity {
    certificate: X509,
    key: PKey<Private>,
}

impl Identity {
    /// An authority.
    fn authority() -> Result<Self, ErrorStack> {
        let (mut builder, key) = begun("the test's authority")?;
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
        builder.sign(&key, MessageDigest::sha256())?;
        let certificate = builder.build();
        Ok(Self { certificate, key })
    }

    /// A server on `localhost` that this authority vouches for.
    fn server(&self) -> Result<Self, ErrorStack> {
        let (mut builder, key) = begun("localhost")?;
        builder.set_issuer_name(self.certificate.subject_name())?;
        let mut names = SubjectAlternativeName::new();
        let names = names.dns("localhost");
        let names = names.build(&builder.x509v3_context(Some(&self.certificate), None))?;
        builder.append_extension(names)?;
        builder.sign(&self.key, MessageDigest::sha256())?;
        let certificate = builder.build();
        Ok(Self { certificate, key })
    }

    /// Accepts connections as this server.
    fn acceptor(&self) -> Result<SslAcceptor, ErrorStack> {
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_private_key(&self.key)?;
        builder.set_certificate(&self.certificate)?;
        Ok(builder.build())
    }
}

/// A certificate that its own key will sign, unless an issuer is set.
fn begun(name: &str) -> Result<(X509Builder, PKey<Private>), ErrorStack> {
    let key = PKey::from_rsa(Rsa::generate(2048)?)?;
    let mut names = X509NameBuilder::new()?;
    names.append_entry_by_text("CN", name)?;
    let name = names.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_pubkey(&key)?;
    let (yesterday, tomorrow) = (Asn1Time::from_unix(0)?, Asn1Time::days_from_now(1)?);
    builder.set_not_before(&yesterday)?;
    builder.set_not_after(&tomorrow)?;
    Ok((builder, key))
}

/// Starts a server that refuses the first request and takes the others; returns its port, and the bodies.
fn serve(acceptor: SslAcceptor) -> (u16, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, bodies) = mpsc::channel();
    thread::spawn(move || {
        let mut statuses = ["503 Service Unavailable"].into_iter();
        for stream in listener.incoming().flatten() {
            // A client that does not trust the server ends the handshake.
            let Ok(stream) = acceptor.accept(stream) else {
                continue;
            };
            let mut stream = BufReader::new(stream);
            let _ = tell.send(body(&mut stream));
            let status = statuses.next().unwrap_or("204 No Content");
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n");
            let _ = stream.get_mut().write_all(answer.as_bytes());
            let _ = stream.get_mut().shutdown();
        }
    });
    (port, bodies)
}

/// Reads a request.
fn body(stream: &mut impl BufRead) -> Value {
    let mut length = 0;
    for line in stream.lines().map_while(Result::ok) {
        match line.to_lowercase().split_once(": ") {
            Some(("content-length", text)) => length = text.parse().expect("a length"),
            Some(_) => {}
            None if line.is_empty() => break,
            None => assert!(line.starts_with("POST /hook?token="), "{line}"),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the body");
    serde_json::from_slice(&body).expect("JSON")
}

/// A notice is tried again; a server that is not trusted gets none, which costs a warning.
#[test]
fn a_notice_goes_to_a_trusted_server() {
    let authority = Identity::authority().expect("an authority");
    let server = authority.server().expect("a server's certificate");
    let (port, bodies) = serve(server.acceptor().expect("a server"));
    let url = format!("https://localhost:{port}/hook");
    let notify = format!("[notify]\non = [\"end\"]\nurl = \"{url}?token=of-the-hook\"\n");
    let world = World::on_machines(&format!("{GOOD}{notify}timeout = \"60s\"\n"));
    let run = |trusted: Option<&Path>| {
        let tool = world.tool(&["passes[good]"]);
        let run = match trusted {
            Some(file) => tool.env("SSL_CERT_FILE", file).run(),
            None => tool.run(),
        };
        run.code(0).never_says("of-the-hook")
    };
    let certificate = authority.certificate.to_pem().expect("PEM");
    let certificate = String::from_utf8(certificate).expect("PEM");
    let trusted = world.file("authority.pem", &certificate);
    run(Some(&trusted)).never_says("warning: ");
    let next = || bodies.recv_timeout(PATIENCE).expect("a notice");
    let (refused, taken) = (next(), next());
    assert_eq!(refused, taken);
    assert_eq!(
        (&taken["on"], &taken["cases"]["passed"]),
        (&json!("end"), &json!(1))
    );
    let run = run(None);
    let warning = format!("1 of 1 notices were not sent: `{url}`: ");
    assert_eq!(run.lines_with(&["warning: ", &warning]), 1, "{run:?}");
    run.says("certificate verify failed");
    assert!(bodies.try_recv().is_err());
    world.is_clean();
}
