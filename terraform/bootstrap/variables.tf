variable "account_id" {
  description = "Account that is prepared; with the credentials of another one Terraform stops before it asks anything."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "An account id has twelve digits."
  }
}

variable "region" {
  description = "Region of the states."
  type        = string
  default     = "ap-northeast-2"
}

variable "service_linked_roles" {
  description = "Roles that AWS services want to find; leave out those that the account has."
  type        = set(string)
  default     = ["opensearchservice.amazonaws.com"]
}
