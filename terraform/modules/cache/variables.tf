variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string

  validation {
    condition     = length(var.name) <= 40
    error_message = "ElastiCache takes names of at most 40 characters."
  }
}

variable "engine_version" {
  description = "Redis version."
  type        = string
  default     = "7.1"

  validation {
    condition     = can(regex("^7\\.[01]$", var.engine_version))
    error_message = "Redis 7.0 or 7.1."
  }
}

variable "node_type" {
  description = "Type of the primary and its replicas."
  type        = string

  validation {
    condition     = startswith(var.node_type, "cache.")
    error_message = "A type such as cache.t4g.small."
  }
}

variable "replicas" {
  description = "Replicas beside the primary; with at least one a failed primary is taken over in another zone."
  type        = number

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "Between 0 and 5 replicas."
  }
}

variable "snapshot_days" {
  description = "Days that snapshots are kept; what is cached can be fetched again, so few or none are needed."
  type        = number
  default     = 1
}

variable "token_version" {
  description = "Raised to give the cache a new token. The old one is good until everybody has the new one: ROTATE keeps both."
  type        = number
  default     = 1
}

variable "subnet_ids" {
  description = "Database subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the cache."
  type        = string
}

variable "data_key_arn" {
  description = "KMS key of the data at rest and of the token."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that slow and engine logs are kept."
  type        = number
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back; 0 deletes at once."
  type        = number
}
