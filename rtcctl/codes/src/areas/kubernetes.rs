//! Codes of reaching a cluster and of what its API answers.

use super::codes;

codes! { KUBERNETES;
    KUB001 (CONFIGURATION) "the way to the cluster is not usable",
        "the kubeconfig is not there, is damaged, or has no such context",
        "look at --kubeconfig and --context; rtcctl cluster kubeconfig writes one for EKS";
    KUB002 (DENIED) "the cluster does not know who we are",
        "there is no token, it has expired, or the role has no access entry",
        "sign in again; on EKS see aws eks list-access-entries for the role";
    KUB003 (DENIED) "the cluster does not let us",
        "a role that allows it is missing",
        "have a role granted that may do what the message names";
    KUB004 (NOT_FOUND) "there is no such object",
        "the name or the namespace is another one, or it was deleted",
        "look at the name and the namespace; rtcctl deploy status shows what there is";
    KUB005 (CONFIGURATION) "the cluster has no such kind",
        "what brings the kind is not installed: an operator, a gateway, a controller",
        "install it, or leave it out of the description";
    KUB006 (CONFLICT) "fields are owned by somebody else",
        "another program or person applied other values to the same fields",
        "agree on who owns them; take them with --force-conflicts where they are yours";
    KUB007 (CONFLICT) "an object was changed or made meanwhile",
        "somebody else works on the same object",
        "look at it again and repeat";
    KUB008 (CONFIGURATION) "an object is not valid",
        "the API does not accept a field or a value",
        "mend the fields that the message names; rtcctl deploy lint finds most of them before";
    KUB009 (REFUSED) "an object was refused by admission or quota",
        "a policy, a webhook, Pod Security or the quota of the namespace does not allow it",
        "do what the message says, or ask whoever owns the policy";
    KUB010 (UNAVAILABLE) "the cluster does not answer reliably",
        "it is not to be reached, is overloaded or fails, also when requests were repeated",
        "look at the network (a VPN, a private endpoint, allowed addresses), then repeat";
    KUB011 (CONFIGURATION) "the certificate of the cluster is not trusted",
        "the certificate authority is another one, or a proxy opens the connection",
        "write the kubeconfig again: rtcctl cluster kubeconfig";
    KUB012 (CONFIGURATION) "what answers is not Kubernetes",
        "a proxy, a login page or another server is at the address",
        "look at the address; the cause quotes the first line of the answer";
    KUB013 (INTERNAL) "the cluster's API refused a request",
        "it did not accept a request that should be right, or its answer cannot be read",
        "look at the message; a version of Kubernetes outside 1.30 to 1.36 may be the reason";
    KUB014 (NOT_FOUND) "nothing is deployed there",
        "the namespace holds no workload that was meant",
        "look at --namespace, --context and the names; --all shows what others deployed";
    KUB015 (DONE) "a part could not be looked at",
        "we may not read it, or the cluster does not have it; what is told is true but may not be all",
        "have a role granted that may list what the message names";
    KUB016 (NOT_FOUND) "there is no log",
        "the container has not started yet, has not restarted, or there is no container of that name",
        "leave out --previous, or look at rtcctl deploy status";
    KUB017 (TIMED_OUT) "not done in time",
        "the deadline (--timeout) passed while a cluster was asked",
        "repeat; raise --timeout where the line is slow";
}
