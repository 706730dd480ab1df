variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "instance_type" {
  description = "Type of the machine (x86-64): it builds images."
  type        = string
}

variable "disk_gib" {
  description = "Disk of Jenkins' home; it outlives the machine."
  type        = number
  default     = 50
}

variable "subnet_id" {
  description = "Private subnet of the machine."
  type        = string
}

variable "availability_zone" {
  description = "Zone of that subnet."
  type        = string
}

variable "security_group_id" {
  description = "Security group of the machine: no way in but that of agents."
  type        = string
}

variable "repository_arns" {
  description = "Repositories that images are pushed to."
  type        = list(string)
}

variable "cluster_name" {
  description = "Cluster that is deployed to; it need not exist yet."
  type        = string
}

variable "cache_bucket_arn" {
  description = "Bucket of build caches."
  type        = string
}

variable "data_key_arn" {
  description = "KMS key of disks, caches and sessions."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that sessions are kept."
  type        = number
}

variable "protected" {
  description = "Whether the machine refuses to be terminated."
  type        = bool
}

variable "stopped_at_budget" {
  description = "Whether the machine carries the tag that lets the budget stop it."
  type        = bool
}
