//! The Service address of the API server: a TCP relay between a namespace and loopback.

use std::{
    io::copy,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use daymark_tests::namespace::Namespace;

/// Leads every connection to `from` in `namespace` to `to` outside. Its threads end with the process.
///
/// # Errors
/// If nobody can listen there.
pub(crate) fn start(namespace: &Namespace, from: SocketAddr, to: SocketAddr) -> anyhow::Result<()> {
    let listener = namespace.inside(|| Ok(TcpListener::bind(from)?))?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // The API server may be dead: the client sees its connection end.
            if let Ok(server) = TcpStream::connect(to) {
                let _ = join(client, server);
            }
        }
    });
    Ok(())
}

fn join(client: TcpStream, server: TcpStream) -> std::io::Result<()> {
    let (to_client, to_server) = (client.try_clone()?, server.try_clone()?);
    for (mut source, mut sink) in [(client, to_server), (server, to_client)] {
        thread::spawn(move || {
            // Either end may break off; the other one is told.
            let _ = copy(&mut source, &mut sink);
            let _ = sink.shutdown(Shutdown::Both);
            let _ = source.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}
