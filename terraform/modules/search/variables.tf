variable "name" {
  description = "Name of the domain."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,27}$", var.name))
    error_message = "OpenSearch takes 3 to 28 lower-case letters, digits and dashes."
  }
}

variable "engine_version" {
  description = "OpenSearch version."
  type        = string
  default     = "OpenSearch_2.19"

  validation {
    condition     = can(regex("^OpenSearch_[0-9]+\\.[0-9]+$", var.engine_version))
    error_message = "A version such as OpenSearch_2.19."
  }
}

variable "instance_type" {
  description = "Type of the data nodes."
  type        = string

  validation {
    condition     = endswith(var.instance_type, ".search")
    error_message = "A type such as t3.small.search."
  }
}

variable "instances" {
  description = "Data nodes: one, or as many as divide evenly over the zones."
  type        = number
}

variable "dedicated_master_type" {
  description = "Type of three dedicated masters; null for none."
  type        = string
  default     = null
}

variable "disk_gib" {
  description = "Disk of each data node."
  type        = number
  default     = 20
}

variable "subnet_ids" {
  description = "Database subnets, one for each zone that has nodes."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the domain."
  type        = string
}

variable "admins" {
  description = "Principals that may take the domain's master role."
  type        = set(string)
}

variable "clients" {
  description = "Roles that may call the domain; what they may do in it is mapped by the master."
  type        = list(string)
}

variable "data_key_arn" {
  description = "KMS key of the data at rest."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the domain's logs are kept."
  type        = number
}
