use serde_json::json;

use super::*;

fn parse(value: &Value) -> Result<Configuration, CniError> {
    Configuration::parse(value.to_string().as_bytes())
}

/// A configuration with these keys beside the necessary ones.
fn with(more: Value) -> Value {
    let mut all = json!({ "cniVersion": "1.1.0", "name": "pods", "type": "daymark-cni" });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

#[test]
fn unknown_keys_are_left_alone_and_defaults_hold() {
    let read = parse(&with(json!({ "someday": { "x": [1] }, "ipam": {}, "dns": {} })));
    let read = read.expect("well-formed");
    assert_eq!(read.socket, PathBuf::from(DEFAULT_SOCKET));
    assert_eq!((read.delegate, read.dns), (None, None));
    let read = parse(&with(json!({ "ipam": { "type": "host-local", "subnet": "10.0.0.0/24" } })));
    assert_eq!(read.expect("well-formed").delegate.as_deref(), Some("host-local"));
    let read = parse(&with(json!({ "ipam": { "type": OWN_IPAM } })));
    assert_eq!(read.expect("well-formed").delegate, None);
}

#[test]
fn what_is_wrong_has_its_number_and_names_the_key() {
    let rows = [
        (with(json!({ "cniVersion": "0.2.0" })), code::VERSION, "0.2.0"),
        (json!({ "name": "pods", "type": "x" }), code::CONFIGURATION, "cniVersion"),
        (with(json!({ "name": "-" })), code::CONFIGURATION, "name"),
        (with(json!({ "ipam": { "type": "../sh" } })), code::CONFIGURATION, "ipam.type"),
        (with(json!({ "runtimeConfig": { "ips": ["ten"] } })), code::CONFIGURATION, "ips"),
        (with(json!({ "args": { "cni": { "mac": "x" } } })), code::CONFIGURATION, "mac"),
        (with(json!({ "ingressRate": 8000 })), code::CONFIGURATION, "ingressBurst"),
        (
            with(json!({ "egressRate": 8000, "egressBurst": 1_u64 << 36 })),
            code::CONFIGURATION,
            "egressBurst",
        ),
        (with(json!({ "attach": "glue" })), code::CONFIGURATION, "attach"),
        (with(json!({ "runtimeConfig": 7 })), code::CONFIGURATION, "malformed"),
    ];
    for (configuration, code, word) in rows {
        let error = parse(&configuration).expect_err(word);
        assert_eq!(error.code, code, "{error}");
        assert!(error.to_string().contains(word), "{error} names {word}");
    }
    assert_eq!(Configuration::parse(b"{").expect_err("cut").code, code::DECODE);
    let huge = vec![b' '; MAX_CONFIGURATION + 1];
    assert_eq!(Configuration::parse(&huge).expect_err("huge").code, code::CONFIGURATION);
}

#[test]
fn what_is_asked_for_in_args_wins_over_the_runtime_and_static_rates_over_both() {
    let read = parse(&with(json!({
        "args": { "cni": { "ips": ["10.1.2.3/24"] } },
        "runtimeConfig": {
            "ips": ["10.1.2.4"], "mac": "02:00:00:00:00:09",
            "portMappings": [{ "hostPort": 80, "containerPort": 8080, "protocol": "UDP" }],
            "bandwidth": { "ingressRate": 8, "ingressBurst": 8 },
        },
        "egressRate": 800, "egressBurst": 1600,
    })));
    let read = read.expect("well-formed");
    assert_eq!(read.addresses, ["10.1.2.3".parse::<IpAddr>().expect("an address")]);
    assert_eq!(read.mac, Some([2, 0, 0, 0, 0, 9]));
    assert_eq!(read.port_mappings[0].protocol, "UDP");
    assert_eq!((read.bandwidth.ingress_rate, read.bandwidth.egress_rate), (0, 800));
}

#[test]
fn what_containerd_writes_is_read_too() {
    let read = parse(&with(json!({ "runtimeConfig": {
        "portMappings":
            [{ "HostPort": 80, "ContainerPort": 8080, "Protocol": "TCP", "HostIP": "192.0.2.1" }],
        "bandwidth":
            { "IngressRate": 8000, "IngressBurst": 80, "EgressRate": 9000, "EgressBurst": 90 },
    } })));
    let read = read.expect("well-formed");
    let mapping = &read.port_mappings[0];
    assert_eq!((mapping.host_port, mapping.container_port), (80, 8080));
    assert_eq!((mapping.protocol.as_str(), mapping.host_ip.as_str()), ("TCP", "192.0.2.1"));
    let rates = read.bandwidth;
    assert_eq!((rates.ingress_rate, rates.ingress_burst), (8000, 80));
    assert_eq!((rates.egress_rate, rates.egress_burst), (9000, 90));
}

#[test]
fn links_leave_the_ingress_qdisc_to_others_unless_filters_are_asked_for() {
    for (more, filters) in [
        (json!({}), false),
        (json!({ "attach": "links" }), false),
        (json!({ "attach": "filters" }), true),
    ] {
        assert_eq!(parse(&with(more.clone())).expect("well-formed").filters, filters, "{more}");
    }
}

#[test]
fn verbs_need_their_version_and_their_keys() {
    let old = parse(&with(json!({ "cniVersion": "0.3.1" }))).expect("well-formed");
    assert_eq!(old.allows(Verb::Check).expect_err("0.4.0 brought it").code, code::VERSION);
    let new = parse(&with(json!({}))).expect("well-formed");
    assert_eq!(new.allows(Verb::Status), Ok(()));
    assert_eq!(new.allows(Verb::Check).expect_err("no prevResult").code, code::CONFIGURATION);
    let null = parse(&with(json!({ "cni.dev/valid-attachments": null }))).expect("well-formed");
    assert_eq!(null.valid_attachments, []);
    assert_eq!(null.allows(Verb::Gc), Ok(()));
}

#[test]
fn a_list_is_read_as_it_is_written_and_a_single_plugin_is_a_list_of_one() {
    let text = br#"{"cniVersion":"1.1.0","name":"pods","disableGC":true,"plugins":[{"type":"a"}]}"#;
    let list = ConfigurationList::parse(text).expect("a list");
    assert!(list.disable_gc && !list.disable_check);
    assert_eq!(serde_json::to_vec(&list).expect("JSON"), text);
    let single = ConfigurationList::parse(br#"{"cniVersion":"0.4.0","name":"x","type":"a"}"#);
    assert_eq!(single.expect("one").plugins.len(), 1);
    for bad in [&b"{}"[..], br#"{"name":"x","plugins":[]}"#, br#"{"name":"x","plugins":[{}]}"#] {
        assert!(ConfigurationList::parse(bad).is_err());
    }
}
