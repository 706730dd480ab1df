variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "engine_version" {
  description = "MySQL version: 8.4 (long-term support) or 8.0 (extended support, which costs extra)."
  type        = string
  default     = "8.4"

  validation {
    condition     = can(regex("^8\\.[04](\\.[0-9]+)?$", var.engine_version))
    error_message = "MySQL 8.0 or 8.4, with or without a patch level."
  }
}

variable "instance_class" {
  description = "Class of the primary and its replicas."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "A class such as db.t4g.medium."
  }
}

variable "storage_gib" {
  description = "Disk at the start; it grows by itself."
  type        = number
  default     = 30

  validation {
    condition     = var.storage_gib >= 20 && var.storage_gib <= 65536
    error_message = "Between 20 and 65536 GiB."
  }
}

variable "storage_max_gib" {
  description = "How far the disk may grow by itself."
  type        = number
}

variable "multi_az" {
  description = "Whether a standby in another zone takes over when the primary fails."
  type        = bool
}

variable "replicas" {
  description = "Read replicas."
  type        = number

  validation {
    condition     = var.replicas >= 0 && var.replicas <= 5
    error_message = "Between 0 and 5 replicas."
  }
}

variable "backup_days" {
  description = "Days that automatic backups go back; point-in-time recovery and replicas need them."
  type        = number

  validation {
    condition     = var.backup_days >= 1 && var.backup_days <= 35
    error_message = "Between 1 and 35 days."
  }
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the database, and takes a last snapshot when it is deleted after all."
  type        = bool
}

variable "performance_insights" {
  description = "Whether Performance Insights runs; small classes cannot."
  type        = bool
}

variable "apply_immediately" {
  description = "Whether changes interrupt at once instead of in the maintenance window."
  type        = bool
}

variable "subnet_ids" {
  description = "Database subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the database."
  type        = string
}

variable "services" {
  description = "Services that have a schema and a user of their own."
  type        = set(string)
}

variable "password_version" {
  description = "Raised to give the master and every service a new password."
  type        = number
  default     = 1
}

variable "data_key_arn" {
  description = "KMS key of disks, snapshots and secrets."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the database's logs are kept."
  type        = number
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back; 0 deletes at once."
  type        = number

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "0, or between 7 and 30 days."
  }
}
