variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "emails" {
  description = "Who is told of alarms; each address has to confirm once."
  type        = set(string)
}

variable "log_retention_days" {
  description = "Days that logs of pods and nodes are kept."
  type        = number
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "messages_key_arn" {
  description = "KMS key of the topic."
  type        = string
}

variable "cluster_name" {
  description = "Cluster that is watched."
  type        = string
}

variable "databases" {
  description = "Database instances: the primary and its replicas."
  type = object({
    primary  = string
    replicas = list(string)
    # Free disk under which somebody has to look.
    free_gib_min = number
  })
}

variable "cache_nodes" {
  description = "Nodes of the cache."
  type        = list(string)
}

variable "events" {
  description = "Event brokers: the MSK cluster, or the EC2 instances by name."
  type = object({
    backend   = string
    cluster   = string
    instances = map(string)
  })
}

variable "search_domain" {
  description = "Search domain."
  type        = string
}

variable "queues" {
  description = "Queues by name: AWS names of each and of its dead letters."
  type        = map(object({ name = string, dead_name = string }))
}

variable "load_balancer" {
  description = "Load balancer and target group, as metrics name them."
  type        = object({ suffix = string, target_group_suffix = string })
}

variable "api_id" {
  description = "The HTTP API."
  type        = string
}

variable "nat_gateways" {
  description = "NAT gateways by zone."
  type        = map(string)
}

variable "machines" {
  description = "Machines whose failed status checks are an alarm, by name."
  type        = map(string)
}
