variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "backend" {
  description = "msk: Kafka that AWS runs, a broker in each zone, TLS. ec2: Kafka on EC2, cheaper, no TLS inside the VPC, upgrades are ours."
  type        = string

  validation {
    condition     = contains(["msk", "ec2"], var.backend)
    error_message = "backend is msk or ec2."
  }
}

variable "msk" {
  description = "Size of MSK: a broker type, and brokers and GiB of disk a zone."
  type = object({
    kafka_version    = optional(string, "3.9.x")
    instance_type    = optional(string, "kafka.m7g.large")
    brokers_per_zone = optional(number, 1)
    disk_gib         = optional(number, 200)
  })
  default = {}

  validation {
    condition     = startswith(var.msk.instance_type, "kafka.") && var.msk.brokers_per_zone >= 1
    error_message = "A type such as kafka.m7g.large, and at least one broker a zone."
  }
}

variable "ec2" {
  description = "Size of Kafka on EC2: number and type of brokers (x86-64), GiB of disk each, Kafka's version and the SHA-512 of its archive (what Apache publishes beside it, unless given)."
  type = object({
    kafka_version = optional(string, "3.9.1")
    kafka_sha512  = optional(string, "")
    instance_type = optional(string, "t3.medium")
    brokers       = optional(number, 3)
    disk_gib      = optional(number, 50)
  })
  default = {}

  validation {
    condition     = contains([1, 3, 5], var.ec2.brokers)
    error_message = "One broker, or an odd number that can elect: 3 or 5."
  }
}

variable "subnets" {
  description = "Private subnets by zone: id and address range."
  type        = map(object({ id = string, cidr = string }))
}

variable "security_group_id" {
  description = "Security group of the brokers."
  type        = string
}

variable "password_version" {
  description = "Raised to write a new password into the secret. MSK takes it from there; Kafka on EC2 takes the one it was formatted with."
  type        = number
  default     = 1
}

variable "data_key_arn" {
  description = "KMS key of disks and of the password: MSK takes only secrets under a key of ours."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that the brokers' logs are kept."
  type        = number
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back; 0 deletes at once."
  type        = number
}

variable "stopped_at_budget" {
  description = "Whether brokers on EC2 carry the tag that lets the budget stop them."
  type        = bool
}

variable "protected" {
  description = "Whether brokers on EC2 refuse to be terminated."
  type        = bool
}
