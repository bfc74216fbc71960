//! What the reference plugins' own tests demand of a plugin that attaches pods, for every version and
//! family.

use std::{fmt, net::IpAddr, path::Path};

use anyhow::{Context, ensure};
use daymark_tests::process::retried;
use serde_json::{Value, json};

use crate::node::{MTU, Node, Pod, addresses, speak, text};

const V4: &str = "10.244.1.0/24";
const V6: &str = "fd00:10:244:1::/64";

/// One version with one set of families.
pub(crate) struct Case {
    version: &'static str,
    ranges: &'static [&'static str],
}

/// All of them.
pub(crate) fn cases() -> impl Iterator<Item = Case> {
    let versions = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
    let families: [&'static [&'static str]; 3] = [&[V4], &[V6], &[V4, V6]];
    versions
        .into_iter()
        .flat_map(move |version| families.into_iter().map(move |ranges| Case { version, ranges }))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.version, self.ranges.join(" and "))
    }
}

impl Case {
    /// Two pods are attached, looked at, speak to each other and to the node, and are detached.
    pub(crate) fn run(&self, folder: &Path, tool: &Path) -> anyhow::Result<()> {
        let node = Node::new(folder, self.ranges)?;
        node.configure(self.version, &[node.plugin(json!({}))])?;
        let [one, other] = [Pod::new()?, Pod::new()?];
        let result = node.done(tool, "add", &one, &[])?;
        self.check_result(&result, &one)?;
        // The kernel tells a moment later that a link is up, and gives it its link-local address then.
        retried(|| self.check_pod(&result, &one))?;
        let others = node.done(tool, "add", &other, &[])?;
        if self.version != "0.3.1" {
            node.done(tool, "check", &one, &[])?;
        }
        for (mine, theirs) in addresses(&result)?.into_iter().zip(addresses(&others)?) {
            let seen = speak(&one.namespace, &other.namespace, theirs)?;
            ensure!(seen == mine, "{theirs} saw {seen}, not {mine}");
            let seen = speak(&node.namespace, &one.namespace, mine)?;
            ensure!(is_nodes(seen), "the node spoke from {seen}");
            let gateway: IpAddr = result_gateway(&result, mine)?;
            let seen = speak(&one.namespace, &node.namespace, gateway)?;
            ensure!(seen == mine, "the gateway saw {seen}");
        }
        for pod in [&one, &other] {
            node.done(tool, "del", pod, &[])?;
            let links = pod.ip(&["link"])?;
            ensure!(names(&links) == ["lo"], "the pod still has {links}");
        }
        node.holds_nothing()
    }

    fn check_result(&self, result: &Value, pod: &Pod) -> anyhow::Result<()> {
        ensure!(result["cniVersion"] == self.version, "{result}");
        let [host, inner] = [0, 1].map(|at| &result["interfaces"][at]);
        for link in [host, inner] {
            ensure!(link["mac"].as_str().is_some_and(|mac| mac.len() == 17), "a MAC: {link}");
        }
        ensure!(host.get("sandbox").is_none_or(|s| s == ""), "the host's end first: {host}");
        ensure!(inner["name"] == "eth0" && inner["sandbox"] == pod.netns().as_str(), "{inner}");
        ensure!(inner.get("mtu").is_some() == (self.version == "1.1.0"), "{inner}");
        let ips = result["ips"].as_array().context("ips")?;
        ensure!(ips.len() == self.ranges.len(), "{ips:?}");
        for ip in ips {
            let ipv6 = ip["address"].as_str().is_some_and(|address| address.contains(':'));
            let old = self.version.starts_with('0');
            let family = old.then_some(json!(if ipv6 { "6" } else { "4" }));
            ensure!(ip.get("version") == family.as_ref(), "{ip}");
            ensure!(ip["interface"] == 1, "{ip}");
            let everywhere = if ipv6 { "::/0" } else { "0.0.0.0/0" };
            let routes = result["routes"].as_array().into_iter().flatten();
            ensure!(routes.filter(|r| r["dst"] == everywhere).count() == 1, "{result}");
        }
        Ok(())
    }

    fn check_pod(&self, result: &Value, pod: &Pod) -> anyhow::Result<()> {
        let told = pod.ip(&["-d", "address", "show", "dev", "eth0"])?;
        let link = &told[0];
        ensure!(link["linkinfo"]["info_kind"] == "veth" && link["operstate"] == "UP", "{link}");
        ensure!(link["mtu"] == MTU && link["address"] == result["interfaces"][1]["mac"], "{link}");
        let there = link["addr_info"].as_array().context("addresses")?;
        let local = there.iter().filter(|a| a["scope"] == "link" && a["family"] == "inet6").count();
        ensure!(local == 1, "one link-local address: {link}");
        let global = there.iter().filter(|address| address["scope"] == "global");
        let global: Vec<String> = global
            .map(|a| format!("{}/{}", a["local"].as_str().unwrap_or_default(), a["prefixlen"]))
            .collect();
        let told = result["ips"].as_array().into_iter().flatten();
        let told: Vec<&str> = told.filter_map(|ip| ip["address"].as_str()).collect();
        ensure!(global == told, "{global:?} are not {told:?}");
        for range in self.ranges {
            let family = if range.contains(':') { "-6" } else { "-4" };
            let routes = pod.ip(&[family, "route", "show", "default"])?;
            let gateway = result["routes"].as_array().into_iter().flatten();
            let gateway = gateway.filter(|r| r["gw"] == routes[0]["gateway"]).count();
            ensure!(routes[0]["dev"] == "eth0" && gateway == 1, "the way out: {routes}");
        }
        Ok(())
    }
}

fn is_nodes(address: IpAddr) -> bool {
    ["192.0.2.1", "2001:db8::1"].contains(&address.to_string().as_str())
}

fn result_gateway(result: &Value, address: IpAddr) -> anyhow::Result<IpAddr> {
    let ips = result["ips"].as_array().into_iter().flatten();
    let gateways = ips.filter_map(|ip| ip["gateway"].as_str()?.parse::<IpAddr>().ok());
    gateways.into_iter().find(|gateway| gateway.is_ipv4() == address.is_ipv4()).context("a gateway")
}

fn names(links: &Value) -> Vec<&str> {
    links.as_array().into_iter().flatten().filter_map(|link| link["ifname"].as_str()).collect()
}

/// By CNI_ARGS and by the runtime's capabilities.
pub(crate) fn asked_for(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let capabilities = json!({ "capabilities": { "mac": true, "ips": true } });
    node.configure("1.0.0", &[node.plugin(capabilities)])?;
    let [one, other, third] = [Pod::new()?, Pod::new()?, Pod::new()?];
    let arguments = ("CNI_ARGS", "IP=10.244.1.77;MAC=02:00:00:00:00:77".to_owned());
    let result = node.done(tool, "add", &one, &[arguments])?;
    ensure!(result["ips"][0]["address"] == "10.244.1.77/32", "{result}");
    ensure!(one.ip(&["link", "show", "eth0"])?[0]["address"] == "02:00:00:00:00:77");
    let runtime = json!({ "mac": "02:00:00:00:00:78", "ips": ["10.244.1.78/24"] });
    let result = node.done(tool, "add", &other, &[("CAP_ARGS", runtime.to_string())])?;
    ensure!(result["ips"][0]["address"] == "10.244.1.78/32", "{result}");
    ensure!(result["interfaces"][1]["mac"] == "02:00:00:00:00:78", "{result}");
    let refused = node.tool(tool, "add", &third, &[("CAP_ARGS", runtime.to_string())])?;
    ensure!(!refused.status.success() && text(&refused.stderr).contains("taken"));
    let first = node.done(tool, "add", &third, &[])?;
    node.done(tool, "del", &third, &[])?;
    let again = node.done(tool, "add", &third, &[])?;
    ensure!(first["interfaces"] == again["interfaces"], "{first} {again}");
    ensure!(first["ips"] != again["ips"], "an address rests before it is given again");
    Ok(())
}

/// CHECK is content after ADD, and names what was removed since.
pub(crate) fn check_sees_what_is_gone(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    type Harm = fn(&Node, &Pod) -> anyhow::Result<String>;
    let harms: [(&str, Harm); 5] = [
        ("does not have", |_, pod| {
            pod.namespace.run(&["ip", "-4", "addr", "flush", "dev", "eth0"])
        }),
        ("no way out", |_, pod| pod.namespace.run(&["ip", "-6", "route", "del", "default"])),
        ("gone or down", |_, pod| pod.namespace.run(&["ip", "link", "del", "eth0"])),
        ("no route to", |node, _| {
            node.namespace.run(&[
                "sh",
                "-c",
                "ip -4 route show proto 68 | xargs -n 1 | head -n 1 | xargs ip route del",
            ])
        }),
        ("not in the datapath", |node, _| {
            use daymark_loader::Datapath;
            for index in node.memory.state().endpoints.keys() {
                node.memory.remove_endpoint(*index)?;
            }
            Ok(String::new())
        }),
    ];
    for (at, (words, harm)) in harms.into_iter().enumerate() {
        let node = Node::new(&folder.join(at.to_string()), &[V4, V6])?;
        node.configure("1.1.0", &[node.plugin(json!({}))])?;
        let pod = Pod::new()?;
        node.done(tool, "add", &pod, &[])?;
        node.done(tool, "check", &pod, &[])?;
        harm(&node, &pod)?;
        let output = node.tool(tool, "check", &pod, &[])?;
        let said = text(&output.stderr);
        ensure!(!output.status.success() && said.contains(words), "after {words}: {said}");
    }
    Ok(())
}

/// A range with place for one pod.
pub(crate) fn exhausted(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &["10.244.1.0/30"])?;
    node.configure("1.1.0", &[node.plugin(json!({}))])?;
    let [one, other] = [Pod::new()?, Pod::new()?];
    node.done(tool, "status", &one, &[])?;
    node.done(tool, "add", &one, &[])?;
    let output = node.tool(tool, "add", &other, &[])?;
    let said = text(&output.stderr);
    ensure!(said.contains("no address is left in 10.244.1.0/30"), "{said}");
    let output = node.call("STATUS", "", None, json!({}))?;
    let error: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(!output.status.success() && error["code"] == 50, "{error}");
    node.done(tool, "del", &one, &[])?;
    node.done(tool, "status", &one, &[])?;
    node.holds_nothing()
}

/// cnitool calls GC with what it knows of, which is nothing once its notes are gone.
pub(crate) fn collected(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    node.configure("1.1.0", &[node.plugin(json!({}))])?;
    let [one, other] = [Pod::new()?, Pod::new()?];
    node.done(tool, "add", &one, &[])?;
    let output = node.call("ADD", "lost", Some(&other), json!({}))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    let id = json!({ "containerID": "kept", "ifname": "eth0" });
    let third = Pod::new()?;
    let output = node.call("ADD", "kept", Some(&third), json!({}))?;
    ensure!(output.status.success() && node.records() == 3, "{}", text(&output.stdout));
    let output = node.call("GC", "", None, json!({ "cni.dev/valid-attachments": [id] }))?;
    ensure!(output.status.success(), "{}", text(&output.stdout));
    ensure!(node.records() == 1, "{} are left", node.records());
    let other_network = json!({ "name": "others", "cni.dev/valid-attachments": [] });
    node.call("GC", "", None, other_network)?;
    ensure!(node.records() == 1, "another network's pods are not ours to free");
    node.done(tool, "gc", &one, &[])?;
    node.holds_nothing()
}

/// What the configuration says about name servers is in the result.
pub(crate) fn dns(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4])?;
    let dns = json!({ "nameservers": ["192.0.2.53"], "search": ["example.org"] });
    node.configure("0.4.0", &[node.plugin(json!({ "dns": dns }))])?;
    let pod = Pod::new()?;
    let result = node.done(tool, "add", &pod, &[])?;
    ensure!(result["dns"] == dns, "{result}");
    Ok(())
}

/// The datapath is told, one holder has a port, and it is free afterwards.
pub(crate) fn host_ports(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4, V6])?;
    node.configure("1.0.0", &[node.plugin(json!({ "capabilities": { "portMappings": true } }))])?;
    let [one, other] = [Pod::new()?, Pod::new()?];
    let ports = json!({ "portMappings": [
        { "hostPort": 8080, "containerPort": 80, "protocol": "tcp" },
        { "hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1" },
    ] });
    let ports = [("CAP_ARGS", ports.to_string())];
    let result = node.done(tool, "add", &one, &ports)?;
    let open = node.memory.state().host_ports;
    ensure!(open.len() == 3, "{open:?}");
    let mine = addresses(&result)?;
    ensure!(open.iter().all(|port| mine.contains(&port.pod_address)), "{open:?}");
    node.done(tool, "check", &one, &ports)?;
    let output = node.tool(tool, "add", &other, &ports)?;
    ensure!(text(&output.stderr).contains("taken by"), "{}", text(&output.stderr));
    ensure!(node.records() == 1, "nothing is left of the second");
    node.done(tool, "del", &one, &ports)?;
    node.holds_nothing()?;
    node.done(tool, "add", &other, &ports).map(drop)
}

/// A pod may have more than one link; the way out stays the first one's.
pub(crate) fn two_links(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4, V6])?;
    node.configure("1.1.0", &[node.plugin(json!({}))])?;
    let pod = Pod::new()?;
    let second = [("CNI_IFNAME", "net1".to_owned())];
    node.done(tool, "add", &pod, &[])?;
    let result = node.done(tool, "add", &pod, &second)?;
    ensure!(result["interfaces"][1]["name"] == "net1", "{result}");
    node.done(tool, "check", &pod, &[])?;
    node.done(tool, "check", &pod, &second)?;
    for address in addresses(&result)? {
        speak(&node.namespace, &pod.namespace, address)?;
    }
    for family in ["-4", "-6"] {
        let routes = pod.ip(&[family, "route", "show", "default"])?;
        ensure!(routes[0]["dev"] == "eth0" && routes[1].is_null(), "{routes}");
    }
    node.done(tool, "del", &pod, &second)?;
    ensure!(names(&pod.ip(&["link"])?) == ["lo", "eth0"]);
    node.done(tool, "del", &pod, &[])?;
    node.holds_nothing()
}

/// Runtimes may start pods with IPv6 off.
pub(crate) fn ipv6_switched_on(folder: &Path, tool: &Path) -> anyhow::Result<()> {
    let node = Node::new(folder, &[V4, V6])?;
    node.configure("1.0.0", &[node.plugin(json!({}))])?;
    let pod = Pod::new()?;
    let off = "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6";
    pod.namespace.run(&["sh", "-c", off])?;
    let result = node.done(tool, "add", &pod, &[])?;
    let mine = addresses(&result)?;
    ensure!(mine.len() == 2, "{result}");
    speak(&node.namespace, &pod.namespace, mine[1])?;
    node.done(tool, "del", &pod, &[])?;
    node.holds_nothing()
}
