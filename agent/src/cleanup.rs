//! Taking every trace of an agent from its node.

use anyhow::Context;
use daymark_cni::{
    node::{self, conflist},
    server::Socket,
};
use daymark_loader::Kernel;

use crate::root::Root;

/// Removes the network configuration, programs, tables, links, routes, addresses and state of the agent that
/// ran on this root, and gives back the configurations that were set aside for it. Gives how many things that
/// were. Pods that it attached lose their network.
///
/// # Errors
/// If an agent runs there, or something can't be removed; what came before it is.
pub fn cleanup(root: &Root) -> anyhow::Result<usize> {
    let _lock = root.lock()?;
    // First, so that no more pods come.
    let lists = conflist::give_back(&root.cni_configurations)
        .with_context(|| format!("clearing {}", root.cni_configurations.display()))?;
    Kernel::remove_all(&root.bpffs).context("removing programs and tables")?;
    let files = Socket::files(&root.socket);
    let mut files: Vec<_> = files.iter().map(AsRef::as_ref).collect();
    files.push(root.state.as_path());
    Ok(lists + node::cleanup(&files).context("removing links and routes")?)
}
