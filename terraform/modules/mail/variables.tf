variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "domain" {
  description = "Domain that mail comes from."
  type        = string
}

variable "zone_id" {
  description = "Hosted zone that the proofs of the domain are written to."
  type        = string
}

variable "key_arn" {
  description = "KMS key of the feedback topic."
  type        = string
}

variable "data_key_arn" {
  description = "KMS key of the SMTP credentials."
  type        = string
}

variable "secret_recovery_days" {
  description = "Days that a deleted secret can be brought back; 0 deletes at once."
  type        = number
}
