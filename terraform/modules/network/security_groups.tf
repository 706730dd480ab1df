# Who may talk to whom, as a table: a group a role, and each row of `flows` opens one way in at one end and the same way
# out at the other. What is in no row is closed, outwards too.

locals {
  roles = {
    alb       = "public load balancer"
    link      = "API Gateway's link into the VPC"
    cluster   = "control plane of the cluster"
    nodes     = "nodes of the cluster and their pods"
    rds       = "relational database"
    cache     = "cache"
    events    = "event brokers"
    search    = "search domain"
    files     = "shared files"
    endpoints = "endpoints of AWS services"
    ci        = "Jenkins"
    nat       = "NAT instance"
  }

  flows = {
    "link to alb"                = { from = "link", to = "alb", ports = [443, 443] }
    "alb to gateway"             = { from = "alb", to = "nodes", ports = [8080, 8080] }
    "alb to health"              = { from = "alb", to = "nodes", ports = [9080, 9080] }
    "nodes to control plane"     = { from = "nodes", to = "cluster", ports = [443, 443] }
    "ci to control plane"        = { from = "ci", to = "cluster", ports = [443, 443] }
    "control plane to kubelet"   = { from = "cluster", to = "nodes", ports = [10250, 10251] }
    "control plane to webhooks"  = { from = "cluster", to = "nodes", ports = [9443, 9443] }
    "control plane to mesh"      = { from = "cluster", to = "nodes", ports = [15017, 15017] }
    "nodes among themselves"     = { from = "nodes", to = "nodes", ports = null }
    "nodes to rds"               = { from = "nodes", to = "rds", ports = [3306, 3306] }
    "nodes to cache"             = { from = "nodes", to = "cache", ports = [6379, 6379] }
    "nodes to events"            = { from = "nodes", to = "events", ports = [9096, 9096] }
    "nodes to metrics of events" = { from = "nodes", to = "events", ports = [11001, 11002] }
    "events among themselves"    = { from = "events", to = "events", ports = [9092, 9093] }
    "nodes to search"            = { from = "nodes", to = "search", ports = [443, 443] }
    "nodes to files"             = { from = "nodes", to = "files", ports = [2049, 2049] }
    "nodes to endpoints"         = { from = "nodes", to = "endpoints", ports = [443, 443] }
    "events to endpoints"        = { from = "events", to = "endpoints", ports = [443, 443] }
    "agents to ci"               = { from = "nodes", to = "ci", ports = [8080, 8080] }
    "ci to endpoints"            = { from = "ci", to = "endpoints", ports = [443, 443] }
    "nodes through nat"          = { from = "nodes", to = "nat", ports = [443, 443] }
    "mail of nodes through nat"  = { from = "nodes", to = "nat", ports = [587, 587] }
    "events through nat"         = { from = "events", to = "nat", ports = [443, 443] }
    "ci through nat"             = { from = "ci", to = "nat", ports = [443, 443] }
  }

  # The only ways in from anywhere, and the only ways out to anywhere: webhooks, registries and mail providers.
  from_anywhere = {
    "https to alb" = { to = "alb", port = 443 }
    "http to alb"  = { to = "alb", port = 80 }
  }
  to_anywhere = {
    "https from nodes"  = { from = "nodes", port = 443 }
    "mail from nodes"   = { from = "nodes", port = 587 }
    "https from events" = { from = "events", port = 443 }
    "https from ci"     = { from = "ci", port = 443 }
    "https from nat"    = { from = "nat", port = 443 }
    "mail from nat"     = { from = "nat", port = 587 }
  }
}

resource "aws_security_group" "role" {
  #checkov:skip=CKV2_AWS_5:The groups are attached by the modules that the ids are handed to
  for_each = local.roles

  name        = "${var.name}-${each.key}"
  description = each.value
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-${each.key}" }

  # Names are unique in a VPC, so the old group goes first; its rules are resources of their own.
  lifecycle {
    create_before_destroy = false
  }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.role[each.value.to].id
  referenced_security_group_id = aws_security_group.role[each.value.from].id
  description                  = each.key
  ip_protocol                  = each.value.ports == null ? "-1" : "tcp"
  from_port                    = each.value.ports == null ? null : each.value.ports[0]
  to_port                      = each.value.ports == null ? null : each.value.ports[1]

  tags = { Name = each.key }
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.role[each.value.from].id
  referenced_security_group_id = aws_security_group.role[each.value.to].id
  description                  = each.key
  ip_protocol                  = each.value.ports == null ? "-1" : "tcp"
  from_port                    = each.value.ports == null ? null : each.value.ports[0]
  to_port                      = each.value.ports == null ? null : each.value.ports[1]

  tags = { Name = each.key }
}

resource "aws_vpc_security_group_ingress_rule" "anywhere" {
  #checkov:skip=CKV_AWS_260:Port 80 of the public load balancer answers with a redirect to 443 and nothing else
  for_each = local.from_anywhere

  security_group_id = aws_security_group.role[each.value.to].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port

  tags = { Name = each.key }
}

resource "aws_vpc_security_group_egress_rule" "anywhere" {
  for_each = local.to_anywhere

  security_group_id = aws_security_group.role[each.value.from].id
  cidr_ipv4         = "0.0.0.0/0"
  description       = each.key
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port

  tags = { Name = each.key }
}
