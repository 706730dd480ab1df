variable "account_id" {
  description = "Account that the environment lives in; with the credentials of another one Terraform stops before it asks anything."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "region" {
  description = "Region of the environment."
  type        = string
  default     = "ap-northeast-2"
}

variable "zones" {
  description = "Availability zones, in a fixed order."
  type        = list(string)
  default     = ["ap-northeast-2a", "ap-northeast-2c"]
}

variable "domain" {
  description = "Domain of the environment, such as dev.example.com."
  type        = string
}

variable "create_zone" {
  description = "Whether the hosted zone of the domain is made here; see docs/INFRASTRUCTURE.md on the first apply."
  type        = bool
  default     = true
}

variable "emails" {
  description = "Operators: told of alarms and of the budget."
  type        = set(string)
}

variable "admins" {
  description = "ARNs of the roles or users that administer the cluster and the search domain."
  type        = set(string)
}

variable "public_access_cidrs" {
  description = "Networks that may reach the Kubernetes API from the internet; none means that only the VPC can."
  type        = set(string)
  default     = []
}

variable "events_backend" {
  description = "msk or ec2."
  type        = string
  default     = "ec2"

  validation {
    condition     = contains(["msk", "ec2"], var.events_backend)
    error_message = "events_backend is msk or ec2."
  }
}

variable "monthly_budget_usd" {
  description = "What a month of the account may cost."
  type        = number
  default     = 700
}
