//! Codes of clusters of EKS: looking at them and signing in.

use super::codes;

codes! { CLUSTER;
    CLU001 (CONFIGURATION) "no cluster is named",
        "neither --cluster nor rtc.toml names one, and the infrastructure has no output that does",
        "pass --cluster NAME, or set cluster = \"NAME\" for the environment; rtcctl cluster list shows what there is";
    CLU002 (NOT_FOUND) "there is no such cluster",
        "the name is mistyped, or it is in another region or account",
        "rtcctl cluster list shows those of this region; --region and --aws-profile look elsewhere";
    CLU003 (DENIED) "there are no credentials for AWS",
        "neither variables nor profiles nor the role of the machine provide any, or AWS does not know them",
        "sign in: aws sso login, or aws configure; --aws-profile names another profile";
    CLU004 (DENIED) "the credentials for AWS have expired",
        "a session of SSO or of an assumed role has ended",
        "sign in again: aws sso login";
    CLU005 (DENIED) "a permission is missing",
        "the credentials are good, and their role may not do this",
        "have the action that the message names allowed, or use another profile";
    CLU006 (UNAVAILABLE) "AWS throttles",
        "the account asks more often than it may, also after waiting",
        "ask again in a minute; look for programs that poll";
    CLU007 (UNAVAILABLE) "AWS does not answer reliably",
        "it is not to be reached from here, or fails on its own side",
        "look at the network (a proxy, a VPN, a name server), then repeat";
    CLU008 (CONFIGURATION) "this cannot be asked of AWS",
        "no region is known, or a name or a value is not allowed there",
        "pass --region and --cluster as they are in rtcctl cluster list";
    CLU009 (UNAVAILABLE) "the cluster has no API yet",
        "it is being made, or is going away",
        "wait until rtcctl cluster list shows it as ACTIVE";
    CLU010 (CONFIGURATION) "the kubeconfig is not one",
        "the file is damaged, or is something else; it was left as it is",
        "mend it, or name another with --kubeconfig";
    CLU011 (CONFLICT) "the context belongs to somebody else",
        "the kubeconfig has a context of this name for another cluster or another way to sign in",
        "choose another name with --alias";
    CLU012 (CONFLICT) "the kubeconfig is being written",
        "kubectl or another program holds its lock, or died with it",
        "repeat; where nobody writes, remove the file that the message names";
    CLU013 (CONFIGURATION) "the kubeconfig cannot be read or written",
        "the folder is not there, this user may not, or the disk is full",
        "see to what the causes say, or name another file with --kubeconfig";
    CLU014 (TIMED_OUT) "not done in time",
        "the deadline (--timeout) passed while AWS was asked; nothing was changed",
        "repeat; raise --timeout where the line is slow";
    CLU020 (DONE) "a part could not be looked at",
        "we may not, or AWS did not answer; what is told is true but may not be all",
        "have the action that the message names allowed";
    CLU021 (DONE) "the cluster is not at rest",
        "it is being made, changed or deleted, or it failed",
        "wait, or look at it in the console where it failed";
    CLU022 (DONE) "EKS reports an issue of the cluster",
        "something that it needs was removed or changed: subnets, security groups, roles, keys",
        "restore what the message names; until then it can neither be upgraded nor repaired";
    CLU023 (DONE) "an insight does not pass",
        "EKS found something that an upgrade would break, or that is configured wrongly",
        "do what its recommendation says before the next upgrade";
    CLU024 (DONE) "the support of the version ends",
        "versions of Kubernetes have fourteen months of standard support and twelve of extended, paid support",
        "upgrade the control plane to the next version, then the nodes";
    CLU025 (DONE) "the API is open to the internet",
        "its public address may be reached from everywhere",
        "name the networks that may, or close it and use the private address";
    CLU026 (DONE) "the audit log is off",
        "the control plane keeps no record of who did what",
        "switch the log types audit and authenticator on";
    CLU027 (DONE) "who may sign in is in a ConfigMap",
        "the cluster uses aws-auth alone, which whoever edits it can break for everybody",
        "change the authentication mode and use access entries";
    CLU028 (DONE) "an add-on is not well",
        "it could not be installed or updated, or its pods do not run",
        "see its issues; rtcctl deploy status shows its pods";
    CLU029 (DONE) "nothing protects the cluster from deletion",
        "deletion protection is off",
        "switch it on where somebody would miss the cluster";
    CLU030 (DONE) "EKS reports an issue of a node group",
        "its machines cannot be started, do not join, or cannot be emptied",
        "do what the hint says; the group stays degraded until then";
    CLU031 (DONE) "a node group is not at rest",
        "it is being made, updated or deleted, or it failed",
        "wait, or see its issues where it failed";
    CLU032 (DONE) "machines are missing",
        "fewer instances run than the group wants",
        "see the issues of the group; rtcctl cluster capacity shows addresses";
    CLU033 (DONE) "nodes run an older Kubernetes",
        "the control plane was upgraded and the node group was not",
        "update the version of the node group";
    CLU034 (DONE) "there is a newer image for nodes",
        "AWS has published another release since the group was updated",
        "update the node group: its nodes are replaced one after the other";
    CLU035 (DONE) "nodes are in one zone, or there are none",
        "the group has one subnet, its other zones have no machines, or it was scaled to nothing",
        "give the group subnets in other zones; scale it up";
    CLU036 (DONE) "a subnet has few addresses left",
        "nodes and pods share the subnet's addresses",
        "add a subnet, or give pods subnets of their own (custom networking), or prefixes";
    CLU037 (DONE) "the nodes hold every address they may",
        "each node has as many addresses as its type allows; how many of them pods use is not known here",
        "add nodes, or let interfaces have prefixes";
    CLU038 (BREACHED) "the surge does not fit, or wants more nodes",
        "more pods are wanted at once than nodes and subnets have room for",
        "add nodes or addresses before, or roll with a smaller surge";
    CLU039 (DONE) "kubectl will not find rtcctl",
        "the entry runs rtcctl by its name, and it is not on the PATH",
        "put it there; kubectl says \"executable rtcctl not found\" until then";
    CLU040 (DONE) "comments of the kubeconfig are not kept",
        "the file is written anew, as kubectl config does it",
        "use --dry-run -o json to see what would be written, and edit it by hand";
}
