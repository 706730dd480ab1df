//! Codes of the load generator.

use super::codes;

codes! { LOAD;
    LOD001 (BREACHED) "a threshold of the load is breached",
        "availability fell below --min-availability, or the 99th percentile rose above --max-p99",
        "compare the errors by kind with rtcctl status and the log of rtcd in that time";
    LOD002 (INCONCLUSIVE) "the load cannot be judged",
        "there are too few samples (a 99th percentile takes 100 answers, an availability as many requests as let one failure be allowed: 1,000 for 99.9), or most requests were refused",
        "raise --rate or --duration; where requests were refused, look at the errors by kind";
    LOD003 (NOT_FOUND) "there is nothing to buy",
        "the catalogue has no active product",
        "seed the shop with rtcctl up --seed demo, or create products";
    LOD004 (USAGE) "the load cannot be driven as asked",
        "a value on the command line does not make sense, or the platform is behind TLS, which the generator does not speak",
        "read the message";
    LOD005 (INTERNAL) "it is unknown whether some orders exist",
        "their requests broke off, and repeating them under the same key got no answer before patience ended",
        "the keys are in the answer; repeat those requests with the same Idempotency-Key once the platform is back";
    LOD006 (TIMED_OUT) "some accepted orders have not come to an end",
        "they were not confirmed, rejected or cancelled within --settle-timeout",
        "rtcctl status --invariants and rtcctl events lag show where they wait";
    LOD007 (BREACHED) "an accepted order does not exist",
        "the platform acknowledged it and does not know it now",
        "keep the data directory: this is a loss of acknowledged data";
    LOD008 (INTERNAL) "the generator itself was late",
        "this machine is too busy to send on time, so latencies contain its own delay",
        "lower --rate, or run the generator on another machine";
    LOD009 (INTERNAL) "the journal of accepted orders could not be written",
        "the file cannot be created, or the disk refused a write",
        "free space or choose another file";
    LOD010 (INTERNAL) "requests waited for a connection of the generator",
        "all of --connections were busy, because the platform is slow or because they are too few for this rate",
        "raise --connections: as many are needed as the rate times the seconds that an answer takes";
}
