//! `queue discard`: gives up what is owed to an endpoint. `queue compact`: a smaller file.

use super::command::{Discard, Output};
use super::device::{Runtime, segment};
use super::error::CtlError;
use super::output::{bytes, confirm, members, number, say, show, text_of};

pub(super) async fn compact(runtime: &Runtime, output: Output) -> Result<(), CtlError> {
    show(output, &runtime.act("/queue/compact").await?, |done| {
        let (before, after) = (number(done, "before_bytes"), number(done, "after_bytes"));
        format!("the queue takes {} of the disk; before: {}\n", bytes(after), bytes(before))
    })
}

pub(super) async fn discard(
    runtime: &Runtime,
    output: Output,
    args: &Discard,
) -> Result<(), CtlError> {
    let endpoint = &args.endpoint;
    let of_route = args.route.as_ref().map(|route| format!(" by {route}")).unwrap_or_default();
    if !args.yes {
        let status = runtime.get("/status").await?;
        let mut all = members(&status["queue"]["endpoints"]);
        let known = all.find(|known| text_of(known, "endpoint") == endpoint.as_str());
        let owed = match (known, &args.route) {
            (Some(known), None) => {
                let size = bytes(number(known, "bytes"));
                format!("{} messages ({size}) that are owed", number(known, "messages"))
            }
            _ => format!("all messages that are owed{of_route}"),
        };
        if !confirm(&format!("discard {owed} to {endpoint}, for good?"))? {
            say("nothing is discarded");
            return Ok(());
        }
    }
    let mut target = format!("/queue/discard?endpoint={}", segment(endpoint));
    if let Some(route) = &args.route {
        target.push_str(&format!("&route={}", segment(route)));
    }
    let done = runtime.act(&target).await?;
    show(output, &done, |done| {
        let (count, size) = (number(done, "messages"), bytes(number(done, "bytes")));
        format!("{count} messages ({size}) owed{of_route} to {endpoint} discarded\n")
    })
}
