//! Real nodes: the image in Pods that kubelets start (`tests/node`).

use std::process::Command;

use crate::{
    image, packages, peers,
    shell::{execute, peers_folder, repository},
};

/// Makes the image and what nodes need, and runs `tests/node/run.sh`.
pub(crate) fn run(options: &image::Options) -> anyhow::Result<()> {
    packages::for_nodes();
    peers::build_for_nodes()?;
    let archive = image::build(options)?;
    let (repository_name, tag) = options.name_and_tag();
    execute(
        Command::new(repository().join("tests/node/run.sh"))
            .arg(archive)
            .args([repository_name, tag])
            .env("PEERS_BIN", peers_folder()),
    )
}
