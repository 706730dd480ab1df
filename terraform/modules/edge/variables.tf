variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string

  validation {
    condition     = length(var.name) <= 24
    error_message = "Load balancers and target groups take names of at most 32 characters, and something is appended."
  }
}

variable "domain" {
  description = "Domain of the environment: the shop is shop.<domain>, the API api.<domain>."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "A domain in lower case, such as dev.example.com."
  }
}

variable "create_zone" {
  description = "Whether the hosted zone is made here; otherwise one of this domain has to exist. A new zone is good for nothing until its name servers are entered at the parent domain."
  type        = bool
}

variable "vpc_id" {
  description = "VPC of the load balancer's targets."
  type        = string
}

variable "vpc_cidr" {
  description = "Address range of the VPC: where calls through API Gateway come from."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of API Gateway's link."
  type        = list(string)
}

variable "alb_security_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "link_security_group_id" {
  description = "Security group of API Gateway's link."
  type        = string
}

variable "log_bucket" {
  description = "Bucket of the load balancer's access logs."
  type        = string
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "log_retention_days" {
  description = "Days that access logs of the API and of the firewall are kept."
  type        = number
}

variable "requests_per_5_minutes" {
  description = "Requests of one address in five minutes beyond which the firewall refuses it."
  type        = number
  default     = 3000

  validation {
    condition     = var.requests_per_5_minutes >= 10
    error_message = "WAF counts from 10 up."
  }
}

variable "api_requests_per_second" {
  description = "Requests a second of all callers together beyond which API Gateway answers 429."
  type        = number
  default     = 1000
}

variable "api_burst" {
  description = "Requests that may come at once beyond that rate."
  type        = number
  default     = 2000
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer, and the zone only goes empty."
  type        = bool
}
