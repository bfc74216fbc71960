//! The settings of an image, from the last stage of its Dockerfile: they are written once.

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};

/// What the last stage says beside what it copies, in the words of an image's configuration (OCI
/// image specification, "config").
///
/// # Errors
/// For an instruction that is not known here: the image would not be what the Dockerfile says.
pub(super) fn settings(text: &str) -> anyhow::Result<Value> {
    let (_, stage) = text.rsplit_once("\nFROM scratch\n").context("a stage FROM scratch")?;
    let mut config = Map::new();
    for line in stage.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = || serde_json::from_str::<Vec<String>>(rest).with_context(|| line.to_owned());
        match instruction {
            "COPY" => {}
            "USER" => drop(config.insert("User".to_owned(), json!(rest))),
            "ENTRYPOINT" => drop(config.insert("Entrypoint".to_owned(), json!(words()?))),
            "CMD" => drop(config.insert("Cmd".to_owned(), json!(words()?))),
            "EXPOSE" => {
                let ports = config.entry("ExposedPorts").or_insert_with(|| json!({}));
                ports[rest] = json!({});
            }
            _ => bail!("`{instruction}` of the Dockerfile is not known to `cargo xtask image`"),
        }
    }
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_is_read() {
        let text = "FROM x AS build\nRUN y\n\nFROM scratch\nCOPY --from=build /image/ /\nUSER 1:2\n\
                    EXPOSE 53/udp\nENTRYPOINT [\"/a\"]\nCMD [\"b\", \"c\"]\n";
        let wanted = json!({
            "User": "1:2", "ExposedPorts": { "53/udp": {} }, "Entrypoint": ["/a"], "Cmd": ["b", "c"],
        });
        assert_eq!(settings(text).expect("settings"), wanted);
        assert!(settings("FROM x\nFROM scratch\nHEALTHCHECK NONE\n").is_err());
    }
}
