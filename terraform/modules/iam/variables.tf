variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "cluster_name" {
  description = "Cluster whose pods may take the roles; it need not exist yet."
  type        = string
}

variable "workloads" {
  description = "What the pods of a service account may do in AWS, by role name. A workload without statements gets a role that may do nothing."
  type = map(object({
    namespace       = string
    service_account = string
    statements = list(object({
      actions    = list(string)
      resources  = list(string)
      conditions = optional(map(map(list(string))), {})
    }))
  }))

  validation {
    condition = alltrue(flatten([
      for workload in var.workloads : [
        for statement in workload.statements : [for action in statement.actions : action != "*" && !endswith(action, ":*")]
      ]
    ]))
    error_message = "Name actions; a workload is never given a whole service."
  }
}

variable "session_document" {
  description = "Session Manager document that operators must use: the one that is logged."
  type        = string
}

variable "session_key_arn" {
  description = "KMS key that sessions are encrypted with."
  type        = string
}

variable "session_instance_arns" {
  description = "Instances that operators may open a session to, by name."
  type        = map(string)
}
