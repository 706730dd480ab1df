variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "deletable_with_objects" {
  description = "Whether buckets may be deleted while they hold objects."
  type        = bool
}

variable "cache_days" {
  description = "Days that a build cache lives."
  type        = number
  default     = 30
}

variable "log_days" {
  description = "Days that access logs are kept."
  type        = number
}

variable "data_key_arn" {
  description = "KMS key of objects and files."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets that files are mounted from."
  type        = list(string)
}

variable "security_group_id" {
  description = "Security group of the files' mount targets."
  type        = string
}
