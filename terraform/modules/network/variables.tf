variable "name" {
  description = "Prefix of every name, such as rtc-dev."
  type        = string
}

variable "cidr" {
  description = "Address range of the VPC, a /16: public, private and database subnets are cut from it."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && endswith(var.cidr, "/16")
    error_message = "The VPC's range must be an IPv4 /16 such as 10.0.0.0/16."
  }
}

variable "zones" {
  description = "Availability zones, two or three, in a fixed order: a zone's place in the list decides its addresses."
  type        = list(string)

  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 3 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Name two or three different availability zones."
  }
}

variable "nat" {
  description = "How private subnets reach the internet: gateways (one a zone) or instance (one small EC2 instance for all)."
  type        = string

  validation {
    condition     = contains(["gateways", "instance"], var.nat)
    error_message = "nat is gateways or instance."
  }
}

variable "nat_instance_type" {
  description = "Type of the NAT instance (arm64)."
  type        = string
  default     = "t4g.small"
}

variable "interface_endpoints" {
  description = "AWS services that are reached inside the VPC instead of over NAT, without the com.amazonaws.<region> prefix."
  type        = set(string)
}

variable "interface_endpoint_zones" {
  description = "Zones that interface endpoints have an address in: all, or one (cheaper; the others cross zones)."
  type        = string
  default     = "all"

  validation {
    condition     = contains(["all", "one"], var.interface_endpoint_zones)
    error_message = "interface_endpoint_zones is all or one."
  }
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
}

variable "logs_key_arn" {
  description = "KMS key of log groups."
  type        = string
}

variable "data_key_arn" {
  description = "KMS key of disks."
  type        = string
}
