//! An image as one file: an OCI image layout (image specification 1.1) in a tar archive, as
//! `ctr images import`, `podman load` and `skopeo` take it.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::archive::Archive;

const MEDIA: &str = "application/vnd.oci.image";

/// The archive of an image called `name`, with one layer and these settings.
pub(super) fn archive(name: &str, layer: &[u8], settings: &Value) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#);
    archive.folder("blobs");
    archive.folder("blobs/sha256");
    let layer = blob(&mut archive, "layer.v1.tar", layer);
    let configuration = json!({
        "architecture": architecture(),
        "os": "linux",
        "config": settings,
        "rootfs": { "type": "layers", "diff_ids": [layer["digest"]] },
    });
    let configuration = blob(&mut archive, "config.v1+json", configuration.to_string().as_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": format!("{MEDIA}.manifest.v1+json"),
        "config": configuration,
        "layers": [layer],
    });
    let mut manifest = blob(&mut archive, "manifest.v1+json", manifest.to_string().as_bytes());
    let tag = name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    manifest["annotations"] = json!({
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": tag,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    archive.file("index.json", 0o644, index.to_string().as_bytes());
    archive.finish()
}

/// Adds a blob and gives its descriptor.
fn blob(archive: &mut Archive, kind: &str, content: &[u8]) -> Value {
    let digest: String =
        Sha256::digest(content).iter().map(|octet| format!("{octet:02x}")).collect();
    archive.file(&format!("blobs/sha256/{digest}"), 0o644, content);
    json!({
        "mediaType": format!("{MEDIA}.{kind}"),
        "digest": format!("sha256:{digest}"),
        "size": content.len(),
    })
}

/// The machine's, in Go's words, which image specifications use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
