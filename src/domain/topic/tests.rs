//! Tables of topics and filters.

use super::*;

fn who(id: &str) -> Identity {
    Identity::parse(id).unwrap()
}

#[track_caller]
fn publishes(topic: &str, id: &str, wanted: &Result<ClientTopic, BadTopic>) {
    assert_eq!(parse_publish(topic, &who(id)), *wanted, "{topic} by {id}");
}

#[test]
fn topics_of_clients_are_parsed_and_bound_to_who_publishes() {
    let bag = |text| Ok(ClientTopic::Telemetry(Bag::parse(text).unwrap()));
    publishes("devices/d/messages/events/", "d", &bag(""));
    publishes("devices/d/messages/events", "d", &bag(""));
    publishes("devices/d/messages/events/a=1&b=2", "d", &bag("a=1&b=2"));
    publishes("devices/d/modules/m/messages/events/%24.on=o/", "d/m", &bag("%24.on=o"));
    let other = Err(BadTopic::OtherIdentity);
    publishes("devices/e/messages/events/", "d", &other);
    publishes("devices/d/messages/events/", "d/m", &other);
    publishes("devices/d/modules/n/messages/events/", "d/m", &other);
    publishes("devices/d/messages/eventsx", "d", &Err(BadTopic::Unknown));
    publishes("a/b", "d", &Err(BadTopic::Unknown));
    publishes("devices/d/messages/events/=x", "d", &Err(BadTopic::BadBag(BadBag::NoName)));
    let get = Ok(ClientTopic::TwinGet { rid: "a-1%2F".into() });
    publishes("$iothub/twin/GET/?$rid=a-1%2F", "d", &get);
    publishes("$iothub/twin/GET/?$version=1&%24rid=a-1%2F", "d", &get);
    publishes("$iothub/twin/GET/", "d", &Err(BadTopic::Unknown));
    let patch = |rid: Option<&str>| Ok(ClientTopic::TwinPatch { rid: rid.map(str::to_owned) });
    publishes("$iothub/twin/PATCH/properties/reported/?$rid=7", "d", &patch(Some("7")));
    publishes("$iothub/twin/PATCH/properties/reported/", "d", &patch(None));
    publishes("$iothub/twin/DELETE/?$rid=7", "d", &Err(BadTopic::Unknown));
    let answer = Ok(ClientTopic::MethodAnswer { status: -1, rid: "9".into() });
    publishes("$iothub/methods/res/-1/?$rid=9", "d", &answer);
    publishes("$iothub/methods/res/-1/?$rid=9/", "d", &answer);
    publishes("$iothub/methods/res/ok/?$rid=9", "d", &Err(BadTopic::Unknown));
}

#[test]
fn a_topic_that_grows_too_long_when_encoded_is_refused() {
    let topic = |length| format!("devices/d/messages/events/a={}", "ü".repeat(length));
    let raw = topic(10_000);
    assert!(parse_publish(&raw, &who("d")).is_ok());
    let grown = topic(11_000); // 22,000 bytes as written, 66,000 encoded
    assert_eq!(parse_publish(&grown, &who("d")), Err(BadTopic::TooLong));
    let get = format!("$iothub/twin/GET/?$rid={}", "r".repeat(65_000));
    assert_eq!(
        parse_publish(&get, &who("d")),
        Err(BadTopic::TooLong),
        "the answer would be longer"
    );
}

#[test]
fn filters_are_told_apart() {
    use FilterClass::*;
    let table = [
        ("$iothub/methods/POST/#", "d", Methods),
        ("$iothub/twin/PATCH/properties/desired/#", "d", Desired),
        ("$iothub/twin/res/#", "d", TwinAnswers),
        ("devices/d/messages/devicebound/#", "d", CloudToDevice),
        ("devices/e/messages/devicebound/#", "d", OtherIdentity),
        ("devices/+/messages/devicebound/#", "d", OtherIdentity),
        ("devices/d/modules/m/inputs/#", "d/m", Inputs),
        ("devices/d/modules/m/inputs/one/#", "d/m", Inputs),
        ("devices/d/modules/m/#", "d/m", Inputs),
        ("devices/d/modules/n/#", "d/m", OtherIdentity),
        ("devices/d/messages/devicebound/#", "d/m", OtherIdentity),
        ("devices/#", "d", Unknown),
        ("#", "d", Unknown),
        ("é/a", "d", Unknown),
        ("$iothub/twin/res/#/more", "d", Unknown),
        ("$iothub/methods/POST/a#", "d", Unknown),
        ("", "d", Unknown),
    ];
    for (filter, id, class) in table {
        assert_eq!(classify(filter, &who(id)), class, "{filter} of {id}");
    }
}

#[test]
fn wildcards_match_as_the_standard_says() {
    let table = [
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/+/c", "a/b/c", true),
        ("a/+", "a/b/c", false),
        ("é/+", "é/x", true),
        ("a", "a/b", false),
        ("devices/d/modules/m/#", "devices/d/modules/m/inputs/i/k=v", true),
        ("#", "$iothub/x", true),
    ];
    for (filter, topic, wanted) in table {
        assert_eq!(matches(filter, topic), wanted, "{filter} on {topic}");
    }
}

#[test]
fn a_module_is_told_whose_message_it_gets_whatever_the_sender_says() {
    let to = |sender: &str, bag: &str| {
        let bag = Bag::parse(bag).unwrap();
        let topic = delivery(&who("gw/m"), "in", &who(sender), &bag);
        topic.strip_prefix("devices/gw/modules/m/inputs/in/").unwrap().to_owned()
    };
    assert_eq!(to("leaf", "a=1&%24.on=o"), "a=1&%24.cdid=leaf");
    assert_eq!(to("gw/s", ""), "%24.cdid=gw&%24.cmid=s");
    assert_eq!(to("leaf", "%24.cdid=other&%24.cmid=m"), "%24.cdid=leaf");
    let change = "%24.ct=x&%24.cdid=leaf&%24.cmid=m";
    assert_eq!(to("gw/$edgeHub", change), change);
    assert_eq!(to("child/$edgeHub", change), "%24.ct=x&%24.cdid=child&%24.cmid=%24edgeHub");
}

#[test]
fn topics_to_clients_have_the_exact_form_that_sdks_parse() {
    let (device, module) = (who("d"), who("d/m"));
    assert_eq!(
        devicebound(&device, &Bag::parse("p=a%2Fb").unwrap()),
        "devices/d/messages/devicebound/%24.to=%2Fdevices%2Fd%2Fmessages%2Fdevicebound&p=a%2Fb"
    );
    assert_eq!(input(&module, "in1", &Bag::default()), "devices/d/modules/m/inputs/in1/");
    assert_eq!(twin_answer(200, "r", None), "$iothub/twin/res/200/?$rid=r");
    assert_eq!(twin_answer(204, "r", Some(3)), "$iothub/twin/res/204/?$rid=r&$version=3");
    assert_eq!(desired(4), "$iothub/twin/PATCH/properties/desired/?$version=4");
    for (name, sent) in [
        ("do it", "do it"),
        ("ünï=&$100%", "ünï=&$100%"),
        ("a/b?c+d#e", "a%2Fb%3Fc%2Bd%23e"),
        ("%41/", "%2541%2F"),
        ("%41", "%2541"),
    ] {
        assert_eq!(method(name, "1"), format!("$iothub/methods/POST/{sent}/?$rid=1"));
    }
}
