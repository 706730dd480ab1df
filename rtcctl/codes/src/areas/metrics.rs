//! Codes of metrics: of where they come from, of expressions, of verdicts on them.

use super::codes;

codes! { METRICS;
    MET001 (CONFIGURATION) "what answers is not a Prometheus server",
        "a proxy or a sign-in page stands before it, or prometheus_url names another program or lacks a path prefix",
        "open the address in a browser; prometheus_url is what stands before /api/v1";
    MET002 (UNAVAILABLE) "the Prometheus server does not answer",
        "it is down, still starting or overloaded, the address is wrong, or a proxy before it cannot reach it",
        "repeat the command; rtcctl config show says where prometheus_url was set";
    MET003 (TIMED_OUT) "the Prometheus server took too long",
        "the expression reads too much, or the server is busy; --timeout or the server's own limit ran out",
        "ask for a shorter range or a recorded series, or raise --timeout";
    MET004 (USAGE) "the expression is not valid",
        "it is not PromQL, or a parameter of the question is refused; the causes show the place",
        "mend the expression; quote it for the shell";
    MET005 (USAGE) "the expression cannot be executed",
        "it is PromQL, but the data contradicts it: several series match one, or there would be too many samples",
        "read the cause; look at the parts of the expression with rtcctl metrics query";
    MET006 (DENIED) "the Prometheus server denies access",
        "it, or a proxy before it, wants a token or does not accept the one that was sent",
        "set prometheus_token to a reference: env:NAME, file:PATH or cmd:COMMAND";
    MET007 (INTERNAL) "the answer of the Prometheus server is not understood",
        "it failed inside, or speaks another version of the protocol; the causes show what it said",
        "read the server's own log";
    MET008 (USAGE) "the expression needs a Prometheus server",
        "without one, rtcctl evaluates a part of PromQL over the platform's own history, and this is beyond it",
        "name a server in prometheus_url, or write the expression without what the message names";
    MET009 (BREACHED) "a value is outside its limits",
        "the expression came to more than --max or to less than --min, now or within --for",
        "rtcctl metrics range shows the course of the expression";
    MET010 (INCONCLUSIVE) "there is no such series",
        "nothing is recorded under that name and those labels: a mistyped name, a target that is down, or an event that never happened",
        "rtcctl metrics targets shows what is scraped; --no-data decides what this means for a gate";
    MET011 (INCONCLUSIVE) "the value is no number",
        "the expression came to NaN, most often nought divided by nought: there was no traffic",
        "send traffic and repeat; --no-data decides what this means for a gate";
    MET012 (INCONCLUSIVE) "there are too few samples",
        "within --for there are fewer values than --min-samples: the series is young, has gaps, or the platform started lately",
        "wait, or lower --min-samples";
    MET013 (INCONCLUSIVE) "there are several series and no rule for them",
        "the expression came to more than one series, and which of them decides was not said",
        "pass --series any, all or worst, or make one of them with sum() or max()";
    MET014 (DONE) "the source of the metrics remarked something",
        "Prometheus answered and added a warning, such as an answer that is cut off or a function on the wrong kind of metric",
        "read the remark; the figures may be incomplete";
    MET015 (BREACHED) "an alert fires",
        "the condition of its rule has held for as long as the rule asks",
        "rtcctl metrics alerts names its runbook";
    MET016 (UNAVAILABLE) "a target is down",
        "metrics could not be fetched from that process: it is down, unreachable, or its token is wrong",
        "rtcctl status, and the log of that process";
    MET017 (BREACHED) "an objective is not kept",
        "its error budget is used up, or burns so fast that it will be",
        "look at errors and latency with rtcctl metrics summary; hold deployments back until the budget recovers";
    MET018 (INCONCLUSIVE) "an objective cannot be judged",
        "none of the series that it is measured by is recorded",
        "rtcctl metrics targets shows what is scraped";
    MET019 (USAGE) "a full screen needs a terminal",
        "stdout is a file or a pipe, or the terminal says of itself that it can do nothing (TERM=dumb)",
        "use rtcctl metrics summary, or rtcctl metrics watch -o json for one line a refresh";
    MET020 (INCONCLUSIVE) "some figures are missing",
        "a part of the questions failed; what was answered is shown",
        "read the message; run rtcctl metrics query with the expression that it names";
    MET021 (NOT_FOUND) "the platform keeps no history of its metrics",
        "the rtcd that answers is of another version than rtcctl",
        "run the same version of both, or name a Prometheus server in prometheus_url";
    MET022 (DONE) "the history is shorter than what was asked for",
        "without a Prometheus server there is the last sixteen minutes of each process, at most",
        "name a Prometheus server in prometheus_url for more";
    MET023 (NOT_FOUND) "there is no such service or objective",
        "no metrics are recorded under the name, or it is mistyped",
        "rtcctl metrics summary without a name shows what there is";
    MET024 (CONFIGURATION) "an objective is described wrongly",
        "a table below [metrics.slo] lacks a part, or its objective is no percentage between 0 and 100",
        "rtcctl config schema describes its keys";
}
